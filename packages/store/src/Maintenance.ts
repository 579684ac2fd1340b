/**
 * What keeps a store in order: an inventory, pins, and removal.
 */
import type { Stats } from "node:fs"
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { Duration, Effect, Either, Schema, type Scope, type Stream } from "effect"
import { Artifact, type TreeManifest } from "./Action.js"
import * as ActionFiles from "./ActionFiles.js"
import type { Blobs } from "./Blobs.js"
import { StoreError } from "./Errors.js"
import { attempt, errorCode, writeAtomically } from "./Files.js"
import type { Layout } from "./Layout.js"
import { fate } from "./Owner.js"
import { removeGarbage } from "./Removal.js"
import * as Results from "./Results.js"
import { stage, type Staged } from "./Staging.js"
import * as Trees from "./Trees.js"

export interface StoredBlob {
  readonly digest: string
  readonly size: number
  /** When it was written or last used, in milliseconds since the epoch; a use may be noted ten minutes late. */
  readonly modified: number
}

export interface StoredAction {
  readonly key: string
  /** As of a blob. */
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
  /** Every action, damaged ones too. */
  readonly actions: Effect.Effect<ReadonlyArray<StoredAction>, StoreError>
  /** Reads an action and all its blobs again, which is no use of them: fails with what is missing or damaged. */
  readonly check: (key: string) => Effect.Effect<void, StoreError>
  /** Brings the bytes of a blob to the store's disk, where nobody sees them; they go with the scope. */
  readonly stage: <E, R>(
    content: Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<Staged, StoreError | E, R | Scope.Scope>
  /** Makes staged bytes a blob. Whether they were new. */
  readonly place: (staged: Staged) => Effect.Effect<boolean, StoreError>
  /** Keys that somebody is computing. */
  readonly leased: Effect.Effect<ReadonlyArray<string>, StoreError>
  /** Ids of runs that somebody attends. */
  readonly underWay: Effect.Effect<ReadonlyArray<string>, StoreError>
  readonly treeFiles: (digest: string) => Effect.Effect<TreeManifest["files"], StoreError>
  /** Reads a blob again: fails where it is missing or damaged; a damaged one is moved aside. */
  readonly verify: (digest: string) => Effect.Effect<void, StoreError>
  readonly pins: Effect.Effect<ReadonlyArray<Pin>, StoreError>
  /** A pin of the same name is replaced. */
  readonly pin: (pin: Pin) => Effect.Effect<void, StoreError>
  /** Whether there was such a pin. */
  readonly unpin: (name: string) => Effect.Effect<boolean, StoreError>
  /**
   * Actions go before the blobs that they name: whoever looks in between finds a result whole or not at all. What was
   * written or used since `youngest` (milliseconds since the epoch) stays, even if that happens while this works: a
   * result that is used meanwhile stays with all its blobs. Default: nothing of it is that young.
   * @returns what did go
   */
  readonly remove: (garbage: Garbage, youngest?: number) => Effect.Effect<Garbage, StoreError>
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

/** A lease of which nobody was heard for so long is nobody's. Long: a computer may have slept, and clocks differ. */
const SILENT = Duration.hours(1)

/** Whether a lease, or what is in it, was touched lately, and by no process that surely died. */
const isLive = (path: string): Effect.Effect<boolean, StoreError> =>
  attempt(path, async () => {
    const inside = await fs.readdir(path).catch(() => [])
    if (inside.length > 0 && inside.every((name) => fate(name) === "dead")) return false
    const stats = await Promise.all(
      [path, ...inside.map((name) => join(path, name))].map((file) => fs.stat(file).catch(missing))
    )
    return stats.some((stat) => stat !== undefined && Date.now() - stat.mtimeMs < Duration.toMillis(SILENT))
  })

/** Names of the leases in a folder that are held. */
const liveIn = (leases: string): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  Effect.flatMap(names(leases), (found) =>
    Effect.filter(found, (name) => isLive(join(leases, name)), { concurrency: 16 })
  )

const modified = (path: string): Effect.Effect<Stats | undefined, StoreError> =>
  attempt(path, () => fs.stat(path).catch(missing))

export const make = (layout: Layout, blobs: Blobs): Maintenance => ({
  blobs: Effect.flatMap(names(layout.blobs, true), (found) =>
    Effect.map(
      Effect.forEach(
        found.filter((name) => /^[0-9a-f]{2}.[0-9a-f]{62}$/.test(name)),
        (name) =>
          Effect.map(modified(join(layout.blobs, name)), (stat) => {
            const digest = `sha256:${name.slice(0, 2)}${name.slice(3)}`
            return stat === undefined ? [] : [{ digest, size: stat.size, modified: stat.mtimeMs }]
          }),
        { concurrency: 16 }
      ),
      (all) => all.flat()
    )
  ),
  actions: Effect.flatMap(ActionFiles.files(layout), (found) =>
    Effect.map(
      Effect.forEach(
        found,
        (file) =>
          Effect.map(modified(file), (stat) =>
            stat === undefined ? [] : [{ key: ActionFiles.named(file), modified: stat.mtimeMs }]
          ),
        { concurrency: 16 }
      ),
      (all) => all.flat()
    )
  ),
  leased: Effect.map(liveIn(layout.leases), (live) =>
    live.filter((name) => /^[0-9a-f]{64}$/.test(name)).map((name) => `sha256:${name}`)
  ),
  underWay: liveIn(layout.underWay.leases),
  check: Results.make(layout, blobs).check,
  stage: (content) => stage(layout.temporary, content),
  place: blobs.place,
  treeFiles: (digest) => Effect.map(Trees.manifest(blobs, digest), ({ files }) => files),
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
  remove: (garbage, youngest = Infinity) => removeGarbage(layout, blobs, garbage, youngest)
})
