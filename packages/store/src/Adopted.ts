/**
 * Folders outside the store that are read in place. Their files are digested once: what they looked like then is kept,
 * and who looks the same is not read again.
 */
import * as fs from "node:fs/promises"
import { resolve } from "node:path"
import { Duration, Effect, Schema } from "effect"
import type { Artifact } from "./Action.js"
import { type Blobs, External, sameFile, statOf } from "./Blobs.js"
import { StoreError } from "./Errors.js"
import { attempt, digestFile, writeAtomically } from "./Files.js"
import type { Layout } from "./Layout.js"
import * as Trees from "./Trees.js"

/** One file of this per adopted folder: two that adopt different folders at once do not lose each other's. */
const Stats = Schema.parseJson(
  Schema.Struct({
    folder: Schema.String,
    /** By path inside the folder. */
    files: Schema.Record({
      key: Schema.String,
      value: Schema.Struct({ stat: External, digest: Schema.String })
    })
  })
)
type Files = (typeof Stats.Type)["files"]

/** How long a file may change without looking changed: clocks of most file systems tick every few milliseconds, some every two seconds. */
const tick = ({ changed }: External): Duration.Duration =>
  BigInt(changed) % 1_000_000n === 0n ? Duration.seconds(2) : Duration.millis(50)

/** Milliseconds until a change would show. */
const unsettled = (stat: External, now: number): number =>
  Number(BigInt(stat.changed) / 1_000_000n) + Duration.toMillis(tick(stat)) - now

/** A cache: unreadable means empty. */
const remembered = (layout: Layout, folder: string): Effect.Effect<Files> =>
  attempt(folder, () => fs.readFile(layout.stats(folder), "utf8")).pipe(
    Effect.flatMap(Schema.decodeUnknown(Stats)),
    Effect.filterOrFail((stats) => stats.folder === folder),
    Effect.map(({ files }) => files),
    Effect.orElseSucceed(() => ({}))
  )

const remember = (layout: Layout, folder: string, files: Files): Effect.Effect<void> =>
  Effect.ignore(
    Effect.flatMap(Schema.encode(Stats)({ folder, files }), (text) =>
      writeAtomically(layout.temporary, layout.stats(folder), text, "replace")
    )
  )

interface Digested {
  readonly stat: External
  readonly digest: string
  /** Whether any later change will show. */
  readonly settled: boolean
}

const digested = (file: string): Effect.Effect<Digested, StoreError> =>
  Effect.gen(function* () {
    const stat = yield* statOf(file)
    const began = Date.now()
    const { digest } = yield* digestFile(file)
    if (sameFile(stat, yield* statOf(file))) return { stat, digest, settled: unsettled(stat, began) <= 0 }
    return yield* new StoreError({
      reason: "Corrupt",
      path: file,
      detail: "changed while it was digested; do not edit a source while a run reads it, run again"
    })
  })

/** The tree of a folder, or of a single file, without copying it. */
export const adoptFolder = (
  layout: Layout,
  blobs: Blobs,
  type: string,
  folder: string
): Effect.Effect<Artifact, StoreError> =>
  Effect.gen(function* () {
    const root = resolve(folder)
    const listed = yield* Effect.mapError(Trees.listFiles(root), (error) =>
      error.reason === "NotFound"
        ? new StoreError({
            reason: "NotFound",
            path: root,
            detail: "there is no such file or folder",
            cause: error
          })
        : error
    )
    const known = yield* remembered(layout, root)
    const looked = yield* Effect.forEach(
      listed,
      (file) =>
        Effect.map(statOf(file.file), (stat) => {
          const before = known[file.path]
          const same = before !== undefined && sameFile(before.stat, stat)
          return { ...file, stat, before: same ? before.digest : undefined }
        }),
      { concurrency: 16 }
    )
    // What was written this very moment could be written again without looking changed: its clock must move on first.
    const now = Date.now()
    const wait = looked.reduce((longest, { stat, before }) => {
      const left = before === undefined ? unsettled(stat, now) : 0
      return left > Duration.toMillis(tick(stat)) ? longest : Math.max(longest, left)
    }, 0)
    if (wait > 0) yield* Effect.sleep(wait)

    const files = yield* Effect.forEach(
      looked,
      ({ before, stat, ...file }) =>
        Effect.gen(function* () {
          const found =
            before === undefined ? yield* digested(file.file) : { stat, digest: before, settled: true }
          const mine = Effect.zipRight(blobs.here(found.digest), blobs.use(found.digest))
          yield* Effect.catchAll(mine, () => blobs.refer(found.digest, found.stat))
          return { ...file, ...found, known: before !== undefined }
        }),
      { concurrency: 16 }
    )
    if (files.some((file) => !file.known) || files.length !== Object.keys(known).length) {
      const kept = files.filter(({ settled }) => settled)
      const stats = kept.map(({ path, stat, digest }) => [path, { stat, digest }] as const)
      yield* remember(layout, root, Object.fromEntries(stats))
    }
    return yield* Trees.commit(
      blobs,
      type,
      files.map(({ path, digest, stat, executable }) =>
        Trees.entry(path, { digest, size: stat.size }, executable)
      )
    )
  })
