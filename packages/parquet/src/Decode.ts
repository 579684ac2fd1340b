/**
 * Parquet files as tables.
 */
import { arrowSchema, type Fields, recordBatch, type Table } from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Chunk, Effect, Schema, Stream } from "effect"
import { assemble } from "./Assemble.js"
import { readerFor } from "./Choice.js"
import { asParquetError, parquetError, type ParquetError } from "./Errors.js"
import * as Lite from "./Lite.js"
import { type Metadata, readMetadata } from "./Metadata.js"
import { type Chunk as ColumnChunk, readChunk } from "./Pages.js"
import { type Input, open, type ParquetFile } from "./ParquetFile.js"
import { columnsOf, declaredField, type Column } from "./Shape.js"

export interface DecodeOptions {
  /** What errors call the file. Default: its path. */
  readonly name?: string
}

const attempt = <A>(file: ParquetFile, run: () => Promise<A>): Effect.Effect<A, ParquetError> =>
  Effect.tryPromise({
    try: run,
    catch: asParquetError("Corrupt", { file: file.name }, "cannot be decoded; fetch it again")
  })

type ReadGroup = (rowGroup: number) => Promise<ReadonlyArray<ColumnChunk>>

const readerOf = async (
  file: ParquetFile,
  metadata: Metadata,
  columns: ReadonlyArray<Column>
): Promise<ReadGroup> => {
  if (readerFor(metadata).library === "parquetjs-lite") return Lite.reader(file, metadata, columns)
  return async (rowGroup) => {
    const chunks: Array<ColumnChunk> = []
    // One after the other: each holds its pages in memory.
    for (const column of columns) chunks.push(await readChunk(file, metadata, rowGroup, column))
    return chunks
  }
}

const emptyBatch = (schema: Arrow.Schema) =>
  recordBatch(
    schema,
    schema.fields.map(({ type }) => Arrow.makeBuilder({ type }).finish().flush()),
    0
  )

/**
 * The rows of a file, one record batch for each of its row groups. The columns are exactly the table's: a wider file
 * is narrowed, and a value that does not fit is an error, never changed.
 */
export const decodeBatches = (
  table: Table<Fields>,
  input: Input,
  options: DecodeOptions = {}
): Stream.Stream<Arrow.RecordBatch, ParquetError> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const file = yield* open(input, options.name)
      const metadata = yield* attempt(file, () => readMetadata(file))
      const schema = arrowSchema(table)
      const columns = yield* Effect.try({
        try: () => columnsOf(metadata.schema, schema, { file: file.name }),
        catch: asParquetError("Corrupt", { file: file.name }, "has a schema that cannot be read")
      })
      const readGroup = yield* attempt(file, () => readerOf(file, metadata, columns))
      return Stream.fromIterable(metadata.raw.row_groups.entries()).pipe(
        Stream.mapEffect(([rowGroup, { num_rows }]) =>
          attempt(file, async () => {
            const chunks = await readGroup(rowGroup)
            const rows = Number(num_rows)
            const data = columns.map(({ field, shape }, i) => {
              const chunk = chunks[i]
              const place = { file: file.name, column: field.name, rowGroup }
              if (chunk === undefined) throw parquetError("Corrupt", place, "was not read")
              return assemble(shape, chunk, rows, place)
            })
            return recordBatch(schema, data, rows)
          })
        )
      )
    })
  )

/** The rows of a file as one Arrow table; see `decodeBatches`. */
export const decode = (
  table: Table<Fields>,
  input: Input,
  options: DecodeOptions = {}
): Effect.Effect<Arrow.Table, ParquetError> =>
  Effect.map(Stream.runCollect(decodeBatches(table, input, options)), (batches) => {
    const schema = arrowSchema(table)
    // Arrow cannot slice a table without batches.
    return new Arrow.Table(schema, Chunk.isEmpty(batches) ? [emptyBatch(schema)] : Chunk.toArray(batches))
  })

/**
 * The table that holds every value of a file which nobody declared: int32 where they fit, int64 for wider and unsigned
 * ones, timestamps in milliseconds or microseconds. Other types (decimals, structs, maps, binary) are errors.
 */
export const declare = (
  input: Input,
  options: DecodeOptions & {
    /** The table's id. Default: the one the file was written with, else `Parquet/1`. */
    readonly id?: string
    /** Default: all. */
    readonly columns?: ReadonlyArray<string>
  } = {}
): Effect.Effect<Table<Fields>, ParquetError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* open(input, options.name)
      const metadata = yield* attempt(file, () => readMetadata(file))
      const nodes = metadata.schema.children.filter(
        ({ element }) => options.columns?.includes(element.name) ?? true
      )
      const fields = yield* Effect.try({
        try: () => nodes.map((node) => declaredField(node, file.name)),
        catch: asParquetError("Corrupt", { file: file.name }, "has a schema that cannot be read")
      })
      return {
        kind: "table" as const,
        id: options.id ?? metadata.marks?.table ?? "Parquet/1",
        fields: Object.fromEntries(
          fields.map(({ name, type, nullable }) => [
            name,
            { arrow: type, nullable, schema: Schema.Unknown, _A: (value: never) => value }
          ])
        )
      }
    })
  )
