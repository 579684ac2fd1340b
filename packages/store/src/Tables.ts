/**
 * Tables in the store: committing, reading, splitting, concatenating.
 */
import * as fs from "node:fs/promises"
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
import { Chunk, Effect, ParseResult, Schema, Stream } from "effect"
import type { Artifact } from "./Action.js"
import type { Blobs } from "./Blobs.js"
import * as Canonical from "./CanonicalTable.js"
import { StoreError } from "./Errors.js"
import { attempt } from "./Files.js"

const trying = <A>(artifact: string, run: () => A): Effect.Effect<A, ArtifactError> =>
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

const commit = (
  blobs: Blobs,
  table: Table<Fields>,
  batches: ReadonlyArray<Arrow.RecordBatch>
): Effect.Effect<Artifact, StoreError | ArtifactError> =>
  Effect.gen(function* () {
    const bytes = yield* trying(table.id, () => Canonical.encode(table, batches))
    const blob = yield* blobs.putBytes(bytes)
    return {
      kind: "table",
      type: table.id,
      ...blob,
      rows: batches.reduce((sum, batch) => sum + batch.numRows, 0)
    }
  })

export const putArrow = (blobs: Blobs, table: Table<Fields>, content: Arrow.Table) =>
  Effect.flatMap(
    trying(table.id, () => [...Canonical.fromArrow(table, content)]),
    (batches) => commit(blobs, table, batches)
  )

export const putRows = <E, R>(
  blobs: Blobs,
  table: Table<Fields>,
  rows: Stream.Stream<unknown, E, R>
): Effect.Effect<Artifact, StoreError | ArtifactError | E, R> => {
  const decode = Schema.decodeUnknown(Schema.Array(rowSchema(table)), { onExcessProperty: "error" })
  return rows.pipe(
    Stream.rechunk(Canonical.BATCH_ROWS),
    Stream.chunks,
    Stream.mapAccumEffect(0, (before, chunk) =>
      decode(Chunk.toReadonlyArray(chunk)).pipe(
        Effect.mapError(
          (error) =>
            new ArtifactError({
              reason: "SchemaMismatch",
              artifact: table.id,
              detail: `rows from ${before} on do not fit: ${ParseResult.TreeFormatter.formatErrorSync(error)}`,
              cause: error
            })
        ),
        Effect.flatMap((valid) => trying(table.id, () => Canonical.fromRows(table, valid))),
        Effect.map((batch) => [before + batch.numRows, batch] as const)
      )
    ),
    Stream.runCollect,
    Effect.flatMap((batches) => commit(blobs, table, Chunk.toReadonlyArray(batches)))
  )
}

export const read = (
  blobs: Blobs,
  artifact: Artifact
): Effect.Effect<Arrow.Table, ArtifactError | StoreError> =>
  Effect.gen(function* () {
    const path = yield* blobs.locate(artifact.digest)
    const bytes = yield* attempt(path, () => fs.readFile(path))
    return yield* Effect.try({
      try: () => Arrow.tableFromIPC(bytes),
      catch: (cause) =>
        new ArtifactError({
          reason: "Corrupt",
          artifact: artifact.digest,
          detail: "is not an Arrow file; delete it from the store and run again",
          cause
        })
    })
  })

const rowsOf = function* (
  table: Arrow.Table,
  names: ReadonlyArray<string>
): Generator<Record<string, unknown>> {
  for (const batch of table.batches) {
    const vectors = names.map((name) => [name, batch.getChild(name)] as const)
    for (let i = 0; i < batch.numRows; i++) {
      yield Object.fromEntries(
        vectors.map(([name, vector]) => [name, Canonical.plain(vector?.get(i) ?? null)])
      )
    }
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

export const open = <F extends Fields>(
  blobs: Blobs,
  port: Table<F>,
  artifact: Artifact
): Effect.Effect<TableReader<F>, ArtifactError> =>
  Effect.gen(function* () {
    const table = yield* Effect.cached(
      Effect.mapError(read(blobs, artifact), unavailable(artifact)).pipe(
        Effect.filterOrElse(
          (table) => Canonical.mismatch(arrowSchema(port), table.schema) === undefined,
          (table) =>
            new ArtifactError({
              reason: "SchemaMismatch",
              artifact: `${artifact.type} ${artifact.digest}`,
              detail: `the port ${port.id} cannot read it: it ${Canonical.mismatch(arrowSchema(port), table.schema)}`
            })
        )
      )
    )
    return {
      digest: artifact.digest,
      table,
      rows: Stream.unwrap(
        Effect.map(table, (content) =>
          // The columns were checked against the port's above.
          Stream.fromIterable(rowsOf(content, Object.keys(port.fields)) as Iterable<Row<Table<F>>>)
        )
      )
    }
  })

/** A stored table's own declaration, as far as rewriting parts of it needs. */
const declared = (artifact: Artifact, schema: Arrow.Schema): Table<Fields> => ({
  kind: "table",
  id: artifact.type,
  fields: Object.fromEntries(
    schema.fields.map((field) => [
      field.name,
      { arrow: field.type, nullable: field.nullable, schema: Schema.Unknown as never, _A: (a: never) => a }
    ])
  )
})

export const split = (
  blobs: Blobs,
  artifact: Artifact,
  by: string
): Effect.Effect<
  ReadonlyArray<{ readonly shard: string; readonly artifact: Artifact }>,
  StoreError | ArtifactError
> =>
  Effect.gen(function* () {
    const whole = yield* read(blobs, artifact)
    const column = whole.getChild(by)
    if (column === null) {
      return yield* new ArtifactError({
        reason: "SchemaMismatch",
        artifact: artifact.digest,
        detail: `cannot be split by ${by}: it has no such column`
      })
    }
    const rows = new Map<unknown, Array<number>>()
    for (let i = 0; i < column.length; i++) {
      const value: unknown = column.get(i)
      const known = rows.get(value)
      if (known === undefined) rows.set(value, [i])
      else known.push(i)
    }
    const values = [...rows.keys()].sort((a, b) =>
      typeof a === "string" ? (a < String(b) ? -1 : 1) : Number(a) - Number(b)
    )
    const table = declared(artifact, whole.schema)
    return yield* Effect.forEach(values, (value) =>
      Effect.gen(function* () {
        const part = yield* trying(artifact.digest, () => take(whole, rows.get(value) ?? []))
        return { shard: String(value), artifact: yield* putArrow(blobs, table, part) }
      })
    )
  })

/** The given rows: runs of neighbours are slices, so a sorted table is split without touching single rows. */
const take = (table: Arrow.Table, rows: ReadonlyArray<number>): Arrow.Table => {
  const parts: Array<Arrow.Table> = []
  for (let from = 0; from < rows.length;) {
    let to = from + 1
    while (to < rows.length && rows[to] === (rows[to - 1] ?? 0) + 1) to++
    const first = rows[from] ?? 0
    parts.push(table.slice(first, first + to - from))
    from = to
  }
  const [head, ...rest] = parts
  return head === undefined ? table.slice(0, 0) : head.concat(...rest)
}

export const concat = (
  blobs: Blobs,
  table: Table<Fields>,
  artifacts: ReadonlyArray<Artifact>
): Effect.Effect<Artifact, StoreError | ArtifactError> =>
  Effect.gen(function* () {
    const tables = yield* Effect.forEach(artifacts, (artifact) => read(blobs, artifact), { concurrency: 8 })
    const [head, ...rest] = tables.filter(({ numRows }) => numRows > 0)
    return head === undefined
      ? yield* commit(blobs, table, [])
      : yield* putArrow(blobs, table, head.concat(...rest))
  })
