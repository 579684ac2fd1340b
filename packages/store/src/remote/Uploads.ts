/**
 * Write-back: results go to the remote in the background. What was not sent, because the remote or this process went
 * away, is noted in an outbox and sent by the next run.
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { Clock, Duration, Effect, Exit, FiberSet, Option, type Scope } from "effect"
import type { Action } from "../Action.js"
import type { Blobs } from "../Blobs.js"
import type { StoreError } from "../Errors.js"
import { attempt, writeAtomically } from "../Files.js"
import type { Layout } from "../Layout.js"
import * as Trees from "../Trees.js"
import type { Circuit } from "./Circuit.js"
import type { Elsewhere } from "./Elsewhere.js"
import type { Protocol, RemoteError } from "./Protocol.js"
import * as Record from "./Record.js"
import type { Signer } from "./Signature.js"

export interface Options {
  readonly layout: Layout
  readonly own: Blobs
  readonly folder: string
  readonly elsewhere: Elsewhere
  readonly protocol: Protocol
  readonly reading: Circuit
  readonly writing: Circuit
  readonly signer: Signer
  /** Whether files that are read in place are sent too. */
  readonly external: boolean
  /** How long closing waits for what is not sent yet. */
  readonly wait: Duration.Duration
  readonly warn: (detail: string) => Effect.Effect<void>
  /** Hears what is to be told while the store closes. */
  readonly onClosing: (detail: string) => Effect.Effect<void>
  /** An action of this machine. */
  readonly actionOf: (key: string) => Effect.Effect<Option.Option<Action>, StoreError>
}

export interface Uploads {
  /** Notes, before an action is published, that it is to be sent: whatever ends this process, it is not forgotten. */
  readonly note: (key: string) => Effect.Effect<void, StoreError>
  /** Sends an action in the background. */
  readonly send: (action: Action) => Effect.Effect<void>
}

const hex = (digest: string) => digest.replace(/^sha256:/, "")

/** Actions, and blobs of one action, under way at once. */
const ACTIONS = 4
const BLOBS = 4
/** Closing says what it waits for after this time. */
const PATIENCE = Duration.seconds(2)

/** The blobs of an action's outputs, the files of trees included. */
const needed = (blobs: Blobs, action: Action): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  Effect.map(
    Effect.forEach(Object.values(action.outputs), ({ digest, kind }) =>
      kind === "tree"
        ? Effect.map(Trees.manifest(blobs, digest), ({ files }) => [
            ...files.map((file) => file.digest),
            digest
          ])
        : Effect.succeed([digest])
    ),
    (all) => [...new Set(all.flat())]
  )

export const make = (options: Options): Effect.Effect<Uploads, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const { layout, own, elsewhere, protocol, warn } = options
    const outbox = join(options.folder, "outbox")
    const noteOf = (key: string) => join(outbox, hex(key))
    const actions = yield* Effect.makeSemaphore(ACTIONS)
    let keptBack = false

    const through = <A, E, R>(ask: Effect.Effect<A, E | RemoteError, R>) =>
      options.writing.through(options.reading.through(ask))

    /** Sends a blob unless it is there; its size. None where it may not be sent. */
    const sendBlob = (digest: string) =>
      Effect.gen(function* () {
        const there = elsewhere.damaged.has(digest)
          ? Option.none()
          : yield* through(protocol.head("cas", hex(digest)))
        const path = yield* Effect.option(own.here(digest))
        if (Option.isNone(path)) {
          // Known from the remote only: it is of use where it is.
          if (Option.isSome(there)) return Option.some(there.value.size ?? 0)
          return yield* own.here(digest).pipe(Effect.as(Option.none<number>()))
        }
        const { size } = yield* attempt(path.value, () => fs.stat(path.value))
        if (Option.isSome(there) && (there.value.size ?? size) === size) return Option.some(size)
        if (path.value !== layout.blob(digest) && !options.external) return Option.none<number>()
        // What was damaged on this disk must not spread.
        yield* own.verify(digest)
        yield* through(protocol.putFile("cas", hex(digest), path.value, size))
        elsewhere.damaged.delete(digest)
        return Option.some(size)
      })

    const send = (action: Action) =>
      Effect.gen(function* () {
        const digests = yield* needed(elsewhere.blobs, action)
        const blobs = yield* Effect.forEach(
          digests,
          (digest) =>
            Effect.map(
              sendBlob(digest),
              Option.map((size) => ({ digest, size }))
            ),
          { concurrency: BLOBS }
        )
        const all = Option.all(blobs)
        if (Option.isSome(all)) {
          const record = Record.encode(action, all.value, options.signer)
          yield* through(protocol.putBytes("ac", hex(action.key), record))
        } else if (!keptBack) {
          keptBack = true
          yield* warn(
            `results that hold files read in place (of ${action.node}) are not sent; the option external sends them`
          )
        }
        yield* attempt(noteOf(action.key), () => fs.rm(noteOf(action.key), { force: true }))
      }).pipe(
        Effect.catchTags({
          // The circuit has told what concerns the remote as a whole; the note stays for the next run.
          RemoteError: (error) =>
            error.reason === "TooLarge"
              ? warn(`the result of ${action.node} was not sent: ${error.message}`)
              : Effect.void,
          StoreError: (error) => warn(`the result of ${action.node} was not sent: ${error.message}`)
        }),
        actions.withPermits(1)
      )

    const under = yield* FiberSet.make()
    const left = Effect.map(
      Effect.orElseSucceed(
        attempt(outbox, () => fs.readdir(outbox)),
        (): ReadonlyArray<string> => []
      ),
      (names) => names.filter((name) => /^[0-9a-f]{64}$/.test(name))
    )
    const finish = Effect.gen(function* () {
      const started = yield* Clock.currentTimeMillis
      const tellLate = Effect.sleep(PATIENCE).pipe(
        Effect.zipRight(FiberSet.size(under)),
        Effect.flatMap((count) => options.onClosing(`results still to be sent: ${count}`)),
        Effect.zipRight(Effect.never)
      )
      yield* FiberSet.awaitEmpty(under).pipe(
        Effect.raceFirst(tellLate),
        Effect.timeoutOption(options.wait),
        Effect.interruptible
      )
      const waiting = (yield* left).length
      if (waiting === 0) return
      const took = Duration.format(Duration.millis((yield* Clock.currentTimeMillis) - started))
      yield* options.onClosing(`results not sent: ${waiting} (waited ${took}); the next run sends them`)
    })
    // Whoever interrupts a run wants it to end.
    yield* Effect.addFinalizer((exit) => (Exit.isInterrupted(exit) ? Effect.void : finish))

    const start = (action: Action) => Effect.asVoid(FiberSet.run(under, send(action)))
    const resume = Effect.flatMap(
      left,
      Effect.forEach(
        (name) =>
          Effect.flatMap(
            options.actionOf(`sha256:${name}`),
            Option.match({
              onNone: () => attempt(noteOf(name), () => fs.rm(noteOf(name), { force: true })),
              onSome: start
            })
          ),
        { discard: true }
      )
    )
    yield* FiberSet.run(
      under,
      Effect.catchAll(resume, (error) => warn(`what an earlier run left was not sent: ${error.message}`))
    )

    return {
      note: (key) => Effect.asVoid(writeAtomically(layout.temporary, noteOf(key), "", "keep")),
      send: start
    }
  })
