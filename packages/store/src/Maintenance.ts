/**
 * What keeps a store in order: an inventory, pins, and removal.
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { Effect, Either, Schema } from "effect"
import { Artifact } from "./Action.js"
import type { Blobs } from "./Blobs.js"
import { StoreError } from "./Errors.js"
import { attempt, errorCode, writeAtomically } from "./Files.js"
import type { Layout } from "./Layout.js"
import * as Trees from "./Trees.js"

export interface StoredBlob {
  readonly digest: string
  readonly size: number
  /** When it was written, in milliseconds since the epoch. */
  readonly modified: number
}

/** An artifact that stays whatever else goes. */
export const Pin = Schema.Struct({
  name: Schema.String.pipe(Schema.pattern(/^[\w.-]{1,100}$/)),
  artifact: Artifact,
  at: Schema.String
}).annotations({ identifier: "Pin" })
export type Pin = typeof Pin.Type

export interface Garbage {
  readonly runs: ReadonlyArray<string>
  /** Keys. */
  readonly actions: ReadonlyArray<string>
  readonly blobs: ReadonlyArray<StoredBlob>
}

export interface Maintenance {
  /** Every blob in the store's own folder. */
  readonly blobs: Effect.Effect<ReadonlyArray<StoredBlob>, StoreError>
  /** Digests of the files of a tree. */
  readonly treeFiles: (digest: string) => Effect.Effect<ReadonlyArray<string>, StoreError>
  /** Reads a blob again: fails where it is missing or damaged; a damaged one is moved aside. */
  readonly verify: (digest: string) => Effect.Effect<void, StoreError>
  readonly pins: Effect.Effect<ReadonlyArray<Pin>, StoreError>
  /** A pin of the same name is replaced. */
  readonly pin: (pin: Pin) => Effect.Effect<void, StoreError>
  /** Whether there was such a pin. */
  readonly unpin: (name: string) => Effect.Effect<boolean, StoreError>
  /** Actions go before the blobs that they name: whoever looks in between finds a result whole or not at all. */
  readonly remove: (garbage: Garbage) => Effect.Effect<void, StoreError>
}

const PinFile = Schema.parseJson(Pin)

/** Names in a folder; none where it is not there. */
const names = (folder: string, recursive = false): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  attempt(folder, () =>
    fs.readdir(folder, { recursive }).catch((cause: unknown) => {
      if (errorCode(cause) === "ENOENT") return []
      throw cause
    })
  )

const missing = (cause: unknown): undefined => {
  if (errorCode(cause) === "ENOENT") return undefined
  throw cause
}

export const make = (layout: Layout, blobs: Blobs): Maintenance => {
  const removeFile = (path: string) =>
    attempt(path, async () => {
      // Read-only: some file systems do not remove such files.
      await fs.chmod(path, 0o644).catch(missing)
      await fs.rm(path, { recursive: true, force: true })
    })
  return {
    blobs: Effect.flatMap(names(layout.blobs, true), (found) =>
      Effect.map(
        Effect.forEach(
          found.filter((name) => /^[0-9a-f]{2}.[0-9a-f]{62}$/.test(name)),
          (name) =>
            attempt(name, async () => {
              const stat = await fs.stat(join(layout.blobs, name)).catch(missing)
              const digest = `sha256:${name.slice(0, 2)}${name.slice(3)}`
              return stat === undefined ? [] : [{ digest, size: stat.size, modified: stat.mtimeMs }]
            }),
          { concurrency: 16 }
        ),
        (all) => all.flat()
      )
    ),
    treeFiles: (digest) =>
      Effect.map(Trees.manifest(blobs, digest), ({ files }) => files.map((file) => file.digest)),
    verify: blobs.verify,
    pins: Effect.flatMap(names(layout.pins), (found) =>
      Effect.forEach(found.filter((name) => name.endsWith(".json")).sort(), (name) =>
        Effect.flatMap(
          attempt(name, () => fs.readFile(join(layout.pins, name), "utf8")),
          (text) =>
            Either.mapLeft(
              Schema.decodeUnknownEither(PinFile)(text),
              (cause) =>
                new StoreError({
                  reason: "Corrupt",
                  path: join(layout.pins, name),
                  detail: "is not a pin; remove it, or pin again under its name",
                  cause
                })
            )
        )
      )
    ),
    pin: (pin) =>
      Effect.flatMap(Effect.orDie(Schema.encode(PinFile)(pin)), (text) =>
        Effect.asVoid(writeAtomically(layout.temporary, layout.pin(pin.name), text, "replace"))
      ),
    unpin: (name) =>
      attempt(layout.pin(name), () =>
        fs.rm(layout.pin(name)).then(
          () => true,
          (cause: unknown) => missing(cause) ?? false
        )
      ),
    remove: (garbage) =>
      Effect.gen(function* () {
        const all = <A>(items: ReadonlyArray<A>, path: (item: A) => string) =>
          Effect.forEach(items, (item) => removeFile(path(item)), { concurrency: 16, discard: true })
        yield* all(garbage.runs, layout.run)
        yield* all(garbage.actions, layout.action)
        yield* all(garbage.blobs, ({ digest }) => layout.tree(digest))
        yield* all(garbage.blobs, ({ digest }) => layout.blob(digest))
      })
  }
}
