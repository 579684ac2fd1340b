/**
 * Tables in the store: committing, reading, concatenating.
 */
import {
  ArtifactError,
  arrowSchema,
  type Fields,
  type Row,
  rowSchema,
  type Table,
  type TableReader
} from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Chunk, Effect, Option, ParseResult, Schema, Stream } from "effect"
import type { Artifact } from "./Action.js"
import type { Blobs } from "./Blobs.js"
import * as Canonical from "./CanonicalTable.js"
import type { StoreError } from "./Errors.js"
import { read, readBatches } from "./TableFile.js"

export const trying = <A>(artifact: string, run: () => A): Effect.Effect<A, ArtifactError> =>
  Effect.try({
    try: run,
    catch: (cause) =>
      cause instanceof ArtifactError
        ? cause
        : new ArtifactError({
            reason: "SchemaMismatch",
            artifact,
            detail: cause instanceof Error ? cause.message : String(cause),
            cause
          })
  })

/** Pulls from a generator, as slowly as its consumer goes. What it throws is an error of the artifact. */
export const pulled = <A>(artifact: string, generate: () => Iterator<A>): Stream.Stream<A, ArtifactError> =>
  Stream.suspend(() => {
    const values = generate()
    return Stream.repeatEffectOption(
      Effect.flatMap(
        Effect.mapError(
          trying(artifact, () => values.next()),
          Option.some
        ),
        (next) => (next.done === true ? Effect.fail(Option.none()) : Effect.succeed(next.value))
      )
    )
  })

/** Batch by batch: one of them, and the buffers of a file being written, are all that is held. */
export const commit = <E, R>(
  blobs: Blobs,
  table: Table<Fields>,
  batches: Stream.Stream<Arrow.RecordBatch, E, R>
): Effect.Effect<Artifact, StoreError | ArtifactError | E, R> =>
  Effect.suspend(() => {
    const encoder = Canonical.encoder(table)
    let rows = 0
    const pieces = Stream.mapEffect(batches, (batch) => {
      rows += batch.numRows
      return trying(table.id, () => Chunk.unsafeFromArray(encoder.batch(batch)))
    }).pipe(Stream.concat(Stream.sync(() => Chunk.unsafeFromArray(encoder.end()))), Stream.flattenChunks)
    return Effect.map(blobs.putStream(pieces), (blob) => ({
      kind: "table" as const,
      type: table.id,
      ...blob,
      rows
    }))
  })

export const putArrow = (blobs: Blobs, table: Table<Fields>, content: Arrow.Table) =>
  commit(
    blobs,
    table,
    pulled(table.id, () => Canonical.fromArrow(table, content))
  )

/** Rows that are checked and turned into columns at a time: a divisor of BATCH_ROWS. */
const CHUNK_ROWS = 4096

export const putRows = <E, R>(
  blobs: Blobs,
  table: Table<Fields>,
  rows: Stream.Stream<unknown, E, R>
): Effect.Effect<Artifact, StoreError | ArtifactError | E, R> => {
  const decode = Schema.decodeUnknown(Schema.Array(rowSchema(table)), { onExcessProperty: "error" })
  const batches = Stream.suspend(() => {
    const waiting = Canonical.rows(table)
    let before = 0
    const add = (chunk: Chunk.Chunk<unknown>) =>
      Effect.gen(function* () {
        const valid = yield* Effect.mapError(
          decode(Chunk.toReadonlyArray(chunk)),
          (error) =>
            new ArtifactError({
              reason: "SchemaMismatch",
              artifact: table.id,
              detail: `rows from ${before} on do not fit: ${ParseResult.TreeFormatter.formatErrorSync(error)}`,
              cause: error
            })
        )
        before += chunk.length
        return yield* trying(table.id, () => {
          waiting.add(valid)
          return waiting.count() === Canonical.BATCH_ROWS ? Option.some(waiting.take()) : Option.none()
        })
      })
    const rest = Effect.suspend(() =>
      waiting.count() === 0 ? Effect.succeedNone : Effect.asSome(trying(table.id, waiting.take))
    )
    return rows.pipe(
      Stream.rechunk(CHUNK_ROWS),
      Stream.chunks,
      Stream.mapEffect(add),
      Stream.concat(Stream.fromEffect(rest)),
      Stream.filterMap((batch) => batch)
    )
  })
  return commit(blobs, table, batches)
}

const rowsOf = function* (
  batch: Arrow.RecordBatch,
  names: ReadonlyArray<string>
): Generator<Record<string, unknown>> {
  const vectors = names.map((name) => [name, batch.getChild(name)] as const)
  for (let i = 0; i < batch.numRows; i++) {
    yield Object.fromEntries(vectors.map(([name, vector]) => [name, Canonical.plain(vector?.get(i) ?? null)]))
  }
}

const unavailable = (artifact: Artifact) => (error: ArtifactError | StoreError) =>
  error instanceof ArtifactError
    ? error
    : new ArtifactError({
        reason: "Unavailable",
        artifact: artifact.digest,
        detail: error.message,
        cause: error
      })

/** Fails where a stored table of this schema does not satisfy the port. */
const fits = (port: Table<Fields>, artifact: Artifact) => (schema: Arrow.Schema) => {
  const wrong = Canonical.mismatch(arrowSchema(port), schema)
  return wrong === undefined
    ? Effect.void
    : new ArtifactError({
        reason: "SchemaMismatch",
        artifact: `${artifact.type} ${artifact.digest}`,
        detail: `the port ${port.id} cannot read it: it ${wrong}`
      })
}

export const open = <F extends Fields>(
  blobs: Blobs,
  port: Table<F>,
  artifact: Artifact
): Effect.Effect<TableReader<F>, ArtifactError> =>
  Effect.gen(function* () {
    const check = fits(port, artifact)
    const table = yield* Effect.cached(
      Effect.mapError(read(blobs, artifact), unavailable(artifact)).pipe(
        Effect.tap(({ schema }) => check(schema))
      )
    )
    const names = Object.keys(port.fields)
    return {
      digest: artifact.digest,
      table,
      rows: Stream.unwrap(readBatches(blobs, artifact, check)).pipe(
        Stream.mapError(unavailable(artifact)),
        Stream.flatMap((batch) =>
          // The columns were checked against the port's above.
          Stream.fromIterable(rowsOf(batch, names) as Iterable<Row<Table<F>>>)
        )
      )
    }
  })

/** The canonical batches of what comes in batches of any size. */
const rebatched = <E>(
  table: Table<Fields>,
  batches: Stream.Stream<Arrow.RecordBatch, E>
): Stream.Stream<Arrow.RecordBatch, E | ArtifactError> =>
  Stream.suspend(() => {
    let waiting: Array<Arrow.RecordBatch> = []
    let count = 0
    const taken = (rows: number) =>
      trying(table.id, () => {
        const content = new Arrow.Table(waiting)
        waiting = rows < count ? content.slice(rows).batches : []
        count -= rows
        return Chunk.fromIterable(Canonical.fromArrow(table, content.slice(0, rows)))
      })
    return batches.pipe(
      Stream.filter((batch) => batch.numRows > 0),
      Stream.mapEffect((batch) => {
        waiting.push(batch)
        count += batch.numRows
        return count < Canonical.BATCH_ROWS
          ? Effect.succeed(Chunk.empty())
          : taken(count - (count % Canonical.BATCH_ROWS))
      }),
      Stream.concat(Stream.suspend(() => (count === 0 ? Stream.empty : Stream.fromEffect(taken(count))))),
      Stream.flattenChunks
    )
  })

/** Artifacts opened at once: small ones wait for the disk more than for anything else. */
const OPEN = 8

export const concat = (
  blobs: Blobs,
  table: Table<Fields>,
  artifacts: ReadonlyArray<Artifact>
): Effect.Effect<Artifact, StoreError | ArtifactError> => {
  const names = Object.keys(table.fields)
  const batches = Stream.fromIterable(artifacts).pipe(
    Stream.mapEffect((artifact) => readBatches(blobs, artifact, fits(table, artifact)), {
      concurrency: OPEN
    }),
    Stream.flatten(),
    Stream.map((batch) => batch.select(names))
  )
  return commit(blobs, table, rebatched(table, batches))
}
