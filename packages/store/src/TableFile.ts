/**
 * Reading stored tables: whole, their columns views of one buffer, or batch by batch.
 */
import * as fs from "node:fs/promises"
import { ArtifactError } from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Effect, type Scope, Stream } from "effect"
import type { Artifact } from "./Action.js"
import type { Blobs } from "./Blobs.js"
import type { StoreError } from "./Errors.js"
import { errorCode, storeError } from "./Files.js"

/** Files up to this size are read in one go, whoever asks. */
const SMALL = 1 << 20
/** Node reads no more than 2 GiB into one buffer; beyond this, every batch gets its own. */
const ONE_BUFFER = 1 << 30

const reading = <A>(artifact: Artifact, path: string, run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: unreadable(artifact, path) })

const unreadable =
  (artifact: Artifact, path: string) =>
  (cause: unknown): StoreError | ArtifactError =>
    errorCode(cause) === undefined
      ? new ArtifactError({
          reason: "Corrupt",
          artifact: artifact.digest,
          detail: "is not an Arrow file; delete it from the store and run again",
          cause
        })
      : storeError(path, cause)

/** A reader of a stored table that holds one batch at a time. */
const openBatches = (
  blobs: Blobs,
  artifact: Artifact
): Effect.Effect<
  {
    readonly schema: Arrow.Schema
    readonly batches: Stream.Stream<Arrow.RecordBatch, ArtifactError | StoreError>
  },
  ArtifactError | StoreError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const path = yield* blobs.locate(artifact.digest)
    const reader = yield* Effect.acquireRelease(
      reading(artifact, path, async () => {
        const file = await fs.open(path)
        try {
          return await (await Arrow.RecordBatchReader.from(file)).open()
        } catch (cause) {
          await file.close()
          throw cause
        }
      }),
      // Closes the file; at the end of the table it is closed already.
      (reader) => Effect.promise(async () => reader.cancel())
    )
    return {
      schema: reader.schema,
      batches: Stream.fromAsyncIterable(reader, unreadable(artifact, path))
    }
  })

/** The whole table. Its columns are views of what was read. */
export const read = (
  blobs: Blobs,
  artifact: Artifact
): Effect.Effect<Arrow.Table, ArtifactError | StoreError> =>
  artifact.size <= ONE_BUFFER
    ? Effect.flatMap(blobs.locate(artifact.digest), (path) =>
        reading(artifact, path, async () => Arrow.tableFromIPC(await fs.readFile(path)))
      )
    : Effect.scoped(
        Effect.flatMap(openBatches(blobs, artifact), ({ schema, batches }) =>
          Effect.map(Stream.runCollect(batches), (all) => new Arrow.Table(schema, [...all]))
        )
      )

/** The record batches in order; of a large table no more than one is held. `check` sees the schema first. */
export const readBatches = <E>(
  blobs: Blobs,
  artifact: Artifact,
  check: (schema: Arrow.Schema) => Effect.Effect<void, E>
): Effect.Effect<
  Stream.Stream<Arrow.RecordBatch, ArtifactError | StoreError | E>,
  ArtifactError | StoreError | E
> =>
  artifact.size <= SMALL
    ? Effect.flatMap(read(blobs, artifact), ({ schema, batches }) =>
        Effect.as(check(schema), Stream.fromIterable(batches))
      )
    : Effect.succeed(
        Stream.unwrapScoped(
          Effect.flatMap(openBatches(blobs, artifact), ({ schema, batches }) =>
            Effect.as(check(schema), batches)
          )
        )
      )
