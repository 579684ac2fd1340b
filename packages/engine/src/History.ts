/**
 * What earlier runs of a pipeline did with a node: read from the run logs, newest first, as far back as needed.
 */
import type { GraphError, Manifest } from "@tessera/core"
import { document } from "@tessera/core"
import { Store, type StoreError } from "@tessera/store"
import { DateTime, Effect, Option, Schema, Stream } from "effect"
import * as Code from "./Code.js"
import { differences } from "./Difference.js"
import { RunEvent } from "./Events.js"
import { internal, StoredManifest, type Keyed } from "./Keys.js"

/** Logs of this pipeline to look at before a node counts as one that never ran. */
const DEPTH = 20

const CodeDocument = document("tessera.Code/1", Code.CodeRecord)

export interface Previous {
  readonly key: string
  readonly run: string
  readonly manifest: Manifest
}

interface Entry {
  /** The last result, cached or computed. */
  readonly result?: { readonly key: string; readonly run: string }
  /** An execution after that result that did not get to an end, or to a bad one. */
  readonly attempt?: { readonly key: string; readonly failed: boolean }
}

type Log = ReadonlyMap<string, Entry>

export interface Why {
  readonly previous: Option.Option<Previous>
  readonly differences: ReadonlyArray<string>
  /** All of it in one line. */
  readonly reason: string
}

export interface History {
  /** Why an execution with this key is needed. */
  readonly why: (
    at: { readonly node: string; readonly shard?: string },
    keyed: Keyed
  ) => Effect.Effect<Why, StoreError>
}

const place = (node: string, shard: string | undefined) => (shard === undefined ? node : `${node}\0${shard}`)
const decodeEvent = Schema.decodeUnknownOption(RunEvent)

const read = (run: string, events: Iterable<unknown>): Log => {
  const log = new Map<string, Entry>()
  for (const raw of events) {
    const event = Option.getOrUndefined(decodeEvent(raw))
    switch (event?._tag) {
      case "TaskCached":
      case "TaskCommitted":
        log.set(place(event.node, event.shard), { result: { key: event.key, run } })
        break
      case "TaskStarted":
      case "TaskFailed": {
        const at = place(event.node, event.shard)
        log.set(at, { ...log.get(at), attempt: { key: event.key, failed: event._tag === "TaskFailed" } })
        break
      }
    }
    // Nodes that ran shard by shard are known by their own name too.
    if (event?._tag === "NodeSharded" && !log.has(event.node)) log.set(event.node, {})
  }
  return log
}

/** The files behind a code digest, where some run remembered them. They only add names to a message. */
export const recorded = (digest: string): Effect.Effect<Code.CodeRecord | undefined, never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const { key } = yield* internal("code", {}, { digest }, CodeDocument.id)
    const action = yield* store.getAction(key)
    const artifact = Option.getOrUndefined(action)?.outputs["code"]
    if (artifact === undefined) return undefined
    const reader = yield* store.open(CodeDocument, artifact)
    return yield* reader.value
  }).pipe(
    Effect.scoped,
    Effect.orElseSucceed(() => undefined)
  )

/** @param current the run that asks, whose own log does not count. */
export const make = (pipeline: string, current?: string): Effect.Effect<History, never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store

    const load = (run: string): Effect.Effect<Option.Option<Log>, StoreError> =>
      Effect.gen(function* () {
        const first = Option.flatMap(yield* Stream.runHead(store.events(run)), decodeEvent)
        if (Option.isNone(first) || first.value._tag !== "RunStarted" || first.value.pipeline !== pipeline) {
          return Option.none()
        }
        return Option.some(read(run, yield* Stream.runCollect(store.events(run))))
      })

    const loaded: Array<Log> = []
    let pending: Array<string> | undefined
    const turn = yield* Effect.makeSemaphore(1)
    /** The n-th newest log of this pipeline. */
    const nth = (n: number): Effect.Effect<Log | undefined, StoreError> =>
      turn.withPermits(1)(
        Effect.gen(function* () {
          pending ??= (yield* store.runs).filter((run) => run !== current)
          while (loaded.length <= n && loaded.length < DEPTH) {
            const run = pending.shift()
            if (run === undefined) break
            const log = yield* load(run)
            if (Option.isSome(log)) loaded.push(log.value)
          }
          return loaded[n]
        })
      )

    const find = (node: string, shard: string | undefined) =>
      Effect.gen(function* () {
        let attempt: Entry["attempt"]
        let known = false
        for (let n = 0; ; n++) {
          const log = yield* nth(n)
          if (log === undefined) return { attempt, known, result: undefined }
          known ||= log.has(node)
          const entry = log.get(place(node, shard))
          attempt ??= entry?.attempt
          if (entry?.result !== undefined) return { attempt, known: true, result: entry.result }
        }
      })

    return {
      why: ({ node, shard }, { key, manifest, code }) =>
        Effect.gen(function* () {
          const { attempt, known, result } = yield* find(node, shard)
          const tried =
            attempt?.key !== key
              ? undefined
              : attempt.failed
                ? "failed last time"
                : "did not finish last time"
          if (result === undefined) {
            const reason = tried ?? (shard !== undefined && known ? `shard ${shard} never ran` : "never ran")
            return { previous: Option.none(), differences: [], reason }
          }
          const action = yield* store.getAction(result.key)
          const before = Option.flatMap(action, (found) =>
            Schema.decodeUnknownOption(StoredManifest)(found.manifest)
          )
          if (Option.isNone(before)) {
            const reason =
              tried ??
              (result.key === key ? "result missing or damaged" : "changed; the earlier result is gone")
            return { previous: Option.none(), differences: [], reason }
          }
          const previous = Option.some({ ...result, manifest: before.value })
          const changed = differences(before.value, manifest, {
            before:
              before.value.code === manifest.code
                ? undefined
                : yield* Effect.provideService(recorded(before.value.code), Store, store),
            after:
              before.value.code === manifest.code
                ? undefined
                : yield* Effect.orElseSucceed(Code.record(code), () => undefined)
          })
          const reason = changed.length === 0 ? (tried ?? "not reproducible") : changed.join("; ")
          return {
            previous,
            differences: changed,
            reason: tried === undefined || changed.length === 0 ? reason : `${tried}; ${reason}`
          }
        })
    }
  })

/** Keeps the file list behind a code digest, for later explanations. */
export const remember = (run: string, keyed: Keyed): Effect.Effect<void, GraphError | StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const { key, manifest } = yield* internal("code", {}, { digest: keyed.manifest.code }, CodeDocument.id)
    if (Option.isSome(yield* store.getAction(key))) return
    const value = yield* Code.record(keyed.code)
    const code = yield* store.putDocument(CodeDocument, value)
    const startedAt = DateTime.formatIso(yield* DateTime.now)
    yield* store.putAction({
      key,
      manifest,
      outputs: { code },
      run,
      node: "tessera/code",
      startedAt,
      millis: 0
    })
  }).pipe(Effect.catchTags({ EngineError: () => Effect.void, ArtifactError: () => Effect.void }))
