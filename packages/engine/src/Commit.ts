/**
 * What a stage returned for a port, made an artifact of the store.
 */
import { mkdir, writeFile } from "node:fs/promises"
import { dirname, isAbsolute, join, normalize } from "node:path"
import type { ArtifactError, Port } from "@tessera/core"
import { Store, type Artifact, StoreError } from "@tessera/store"
import * as Arrow from "apache-arrow"
import { Effect, Predicate, Schema, Stream } from "effect"
import { EngineError, StageFailed } from "./Errors.js"

const TreeFiles = Schema.Struct({
  files: Schema.Record({ key: Schema.String, value: Schema.Union(Schema.String, Schema.Uint8ArrayFromSelf) })
})
const TreeFolder = Schema.Struct({ folder: Schema.String })
const isFiles = Schema.is(TreeFiles)
const isFolder = Schema.is(TreeFolder)

const isStream = (value: unknown): value is Stream.Stream<unknown, unknown, unknown> =>
  Predicate.hasProperty(value, Stream.StreamTypeId)

// A plugin may carry its own copy of apache-arrow, so the class alone does not decide.
const isArrow = (value: unknown): value is Arrow.Table =>
  value instanceof Arrow.Table ||
  (Predicate.hasProperty(value, "batches") &&
    Predicate.hasProperty(value, "schema") &&
    Array.isArray(value.batches))

const writeFiles = (folder: string, files: Readonly<Record<string, string | Uint8Array>>) =>
  Effect.forEach(
    Object.entries(files),
    ([path, content]) =>
      Effect.tryPromise({
        try: async () => {
          const file = join(folder, path)
          await mkdir(dirname(file), { recursive: true })
          await writeFile(file, content)
        },
        catch: (cause) =>
          new StoreError({
            reason: (cause as NodeJS.ErrnoException).code === "ENOSPC" ? "NoSpace" : "Io",
            path: join(folder, path),
            detail: `cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`,
            cause
          })
      }),
    { discard: true }
  )

const leaves = (path: string) =>
  isAbsolute(path) || normalize(path).split(/[\\/]/)[0] === ".." || path.includes("\0")

export interface At {
  readonly node: string
  readonly shard?: string
}

export const at = (node: string, shard: string | undefined): At => ({
  node,
  ...(shard === undefined ? {} : { shard })
})

export const commit = <E>(
  at: At,
  name: string,
  port: Port,
  produced: unknown
): Effect.Effect<Artifact, StageFailed<E> | EngineError | StoreError, unknown> =>
  Effect.gen(function* () {
    const store = yield* Store
    const where = `${at.node}${at.shard === undefined ? "" : ` (shard ${at.shard})`}.${name}`
    const wrong = (detail: string, cause?: unknown) =>
      new EngineError({ reason: "Output", where, detail, cause })
    if (produced === undefined) return yield* wrong("the stage returned nothing for this output")
    const mismatch = (error: ArtifactError) => wrong(error.detail, error)
    switch (port.kind) {
      case "table": {
        if (!isArrow(produced) && !isStream(produced)) {
          return yield* wrong("must be a stream of rows or an Arrow table")
        }
        const content = isArrow(produced)
          ? produced
          : Stream.mapError(produced, (cause) => new StageFailed<E>({ ...at, cause }))
        const put: Effect.Effect<Artifact, StageFailed<E> | ArtifactError | StoreError, unknown> =
          store.putTable<StageFailed<E>, unknown>(port, content)
        return yield* Effect.catchTag(put, "ArtifactError", mismatch)
      }
      case "document":
        return yield* Effect.catchTag(store.putDocument(port, produced), "ArtifactError", mismatch)
      case "tree": {
        if (isFolder(produced)) return yield* store.putFolder(port.id, produced.folder)
        if (!isFiles(produced))
          return yield* wrong("must be { files } with text or bytes by path, or { folder }")
        const outside = Object.keys(produced.files).find(leaves)
        if (outside !== undefined) return yield* wrong(`the file ${outside} would lie outside of the tree`)
        const folder = yield* store.scratch
        yield* writeFiles(folder, produced.files)
        return yield* store.putFolder(port.id, folder)
      }
    }
  })
