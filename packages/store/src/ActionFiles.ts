/**
 * Actions as files: one per key, believed only where it says what its name says.
 */
import { readFileSync, statSync } from "node:fs"
import * as fs from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { key as keyOf, type Manifest } from "@tessera/core"
import { Effect, Either, Option, Schema, Stream } from "effect"
import { Action } from "./Action.js"
import { isStale, touch } from "./Blobs.js"
import { StoreError } from "./Errors.js"
import { attempt, attemptSync, errorCode, writeAtomically } from "./Files.js"
import type { Layout } from "./Layout.js"

const ActionFile = Schema.parseJson(Action)
/** Of parsed JSON: a schema that parses takes three times as long, and a plan reads every action. */
const decode = Schema.decodeUnknownEither(Action)
/** What took at least so long, in milliseconds, is worth a flush more, so that no power cut takes it back. */
const DEAR = 1000

/** Whether the key is the digest of the manifest. */
const isGenuine = ({ key, manifest }: Action): boolean =>
  Either.match(keyOf(manifest as Manifest), { onLeft: () => false, onRight: (found) => found === key })

/** The key that a file is named by. */
export const named = (file: string): string => `sha256:${basename(dirname(file))}${basename(file, ".json")}`

const parse = (file: string, text: string): Either.Either<Action, StoreError> => {
  const corrupt = (detail: string) => Either.left(new StoreError({ reason: "Corrupt", path: file, detail }))
  const action = Either.flatMap(
    Either.try((): unknown => JSON.parse(text)),
    decode
  )
  if (Either.isLeft(action)) return corrupt("is not a whole action")
  if (action.right.key !== named(file)) return corrupt(`is the action of another key, ${action.right.key}`)
  if (!isGenuine(action.right)) return corrupt("is damaged: its manifest does not have this key")
  return Either.right(action.right)
}

const readText = (file: string): Effect.Effect<string | undefined, StoreError> =>
  attemptSync(file, () => {
    try {
      return readFileSync(file, "utf8")
    } catch (cause) {
      if (errorCode(cause) === "ENOENT") return undefined
      throw cause
    }
  })

/** None where there is none; fails with `Corrupt` where it cannot be believed. */
export const read = (layout: Layout, key: string): Effect.Effect<Option.Option<Action>, StoreError> =>
  Effect.flatMap(readText(layout.action(key)), (text) =>
    text === undefined ? Effect.succeedNone : Effect.asSome(parse(layout.action(key), text))
  )

/** Like `read`, of a result that is going to be used: whoever collects garbage then takes it for young. */
export const use = (layout: Layout, key: string): Effect.Effect<Option.Option<Action>, StoreError> =>
  Effect.gen(function* () {
    const file = layout.action(key)
    const action = yield* read(layout, key)
    if (Option.isNone(action)) return Option.none()
    const stat = yield* attemptSync(file, () => statSync(file, { throwIfNoEntry: false }))
    // It may have been collected in between; that its use could be noted is what counts.
    if (stat === undefined) return Option.none()
    return !isStale(stat.mtimeMs) || (yield* touch(file)) ? action : Option.none()
  })

export const put = (layout: Layout, action: Action): Effect.Effect<void, StoreError> =>
  isGenuine(action)
    ? Effect.flatMap(Effect.orDie(Schema.encode(ActionFile)(action)), (text) =>
        Effect.asVoid(
          writeAtomically(
            layout.temporary,
            layout.action(action.key),
            text,
            action.millis < DEAR ? "replace" : "replace-durably"
          )
        )
      )
    : new StoreError({
        reason: "Invalid",
        path: action.key,
        detail: "is not the key of the action's manifest"
      })

/** Files of actions, damaged ones too. */
export const files = (layout: Layout): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  attempt(layout.actions, async () => {
    const names = await fs.readdir(layout.actions, { recursive: true }).catch((cause: unknown) => {
      if (errorCode(cause) === "ENOENT") return []
      throw cause
    })
    return names.filter((name) => name.endsWith(".json")).map((name) => join(layout.actions, name))
  })

/** All that can be believed, newest first. */
export const all = (layout: Layout): Stream.Stream<Action, StoreError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const found = yield* Effect.forEach(
        yield* files(layout),
        (file) =>
          Effect.map(
            Effect.orElseSucceed(readText(file), () => undefined),
            (text) => (text === undefined ? [] : Option.toArray(Either.getRight(parse(file, text))))
          ),
        { concurrency: 16 }
      )
      return Stream.fromIterable(found.flat().sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1)))
    })
  )
