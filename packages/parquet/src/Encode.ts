/**
 * Tables as Parquet files.
 */
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { arrowSchema, type Fields, type Table } from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Effect, Exit } from "effect"
import { writerFor } from "./Choice.js"
import type { Compression } from "./Compression.js"
import { asParquetError, parquetError, type ParquetError } from "./Errors.js"
import * as HyparquetWriter from "./HyparquetWriter.js"
import * as Lite from "./Lite.js"
import { collecting, type Output, toHandle } from "./Output.js"

export interface EncodeOptions {
  /** Default: snappy, which everything reads. */
  readonly compression?: Compression
  /** What errors call the file. Default: the path, or the table's id. */
  readonly name?: string
}

/** Throws ParquetError where the content is not of the table's columns; more columns are left out. */
const check = (table: Table<Fields>, content: Arrow.Table, file: string): void => {
  const { fields } = arrowSchema(table)
  if (fields.length === 0)
    throw parquetError("Unsupported", { file }, "a table without columns has no Parquet form")
  for (const { name, type } of fields) {
    const found = content.schema.fields.find((field) => field.name === name)
    if (found === undefined) {
      const there = content.schema.fields.map((field) => field.name).join(", ")
      throw parquetError(
        "SchemaMismatch",
        { file },
        `the content has no column ${name}; it has ${there || "none"}`
      )
    }
    const plain = Arrow.DataType.isDictionary(found.type) ? found.type.dictionary : found.type
    if (`${plain}` !== `${type}`) {
      throw parquetError("SchemaMismatch", { file, column: name }, `the content is ${plain}, not ${type}`)
    }
  }
}

const encodeTo = async (
  table: Table<Fields>,
  content: Arrow.Table,
  compression: Compression,
  output: Output
): Promise<void> => {
  check(table, content, output.name)
  const { library } = writerFor(table, content, compression)
  await (library === "parquetjs-lite" && compression !== "zstd"
    ? Lite.write(table, content, compression, output)
    : HyparquetWriter.write(table, content, compression, output))
}

const attempt = <A>(name: string, run: () => Promise<A>): Effect.Effect<A, ParquetError> =>
  Effect.tryPromise({
    try: run,
    catch: asParquetError("Unsupported", { file: name }, "could not be written")
  })

/** The Parquet file of a table, in memory. */
export const encode = (
  table: Table<Fields>,
  content: Arrow.Table,
  options: EncodeOptions = {}
): Effect.Effect<Uint8Array, ParquetError> => {
  const output = collecting(options.name ?? table.id)
  return Effect.map(
    attempt(output.name, () => encodeTo(table, content, options.compression ?? "snappy", output)),
    () => output.bytes()
  )
}

/**
 * Writes the Parquet file of a table, row group by row group, replacing what is there. Where that fails or is
 * interrupted nothing new is left under the path.
 */
export const encodeFile = (
  table: Table<Fields>,
  content: Arrow.Table,
  path: string,
  options: EncodeOptions = {}
): Effect.Effect<void, ParquetError> => {
  const name = options.name ?? path
  const partial = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.part`
  const io = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({
      try: run,
      catch: asParquetError(
        "Io",
        { file: name },
        "cannot be written; check that its folder exists and may be written"
      )
    })
  return Effect.acquireUseRelease(
    io(() => fs.open(partial, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY)),
    (handle) =>
      attempt(name, () =>
        encodeTo(table, content, options.compression ?? "snappy", toHandle(handle, name))
      ).pipe(Effect.zipRight(io(() => handle.sync())), Effect.zipRight(io(() => fs.rename(partial, path)))),
    (handle, exit) =>
      Effect.promise(async () => {
        await handle.close()
        if (Exit.isFailure(exit)) await fs.rm(partial, { force: true })
      })
  )
}
