/**
 * parquetjs-lite, for the tables that `Choice` gives to it.
 */
// oxlint-disable-next-line typescript/triple-slash-reference -- who compiles this source without its folder needs the types
/// <reference path="./parquetjs-lite.d.ts" />
import { arrowSchema, type Fields, type Table } from "@tessera/core"
import * as Arrow from "apache-arrow"
import lite, { type FieldDefinition } from "parquetjs-lite"
import { type Cells, cellsOf } from "./Cells.js"
import { LITE_ROW_GROUP } from "./Choice.js"
import { codecOf, type Compression } from "./Compression.js"
import { parquetError } from "./Errors.js"
import { toKeyValue } from "./Marks.js"
import type { Metadata } from "./Metadata.js"
import type { Output } from "./Output.js"
import type { Chunk } from "./Pages.js"
import type { ParquetFile } from "./ParquetFile.js"
import type { Column } from "./Shape.js"
import { sink } from "./Values.js"

const typeOf = (type: Arrow.DataType): FieldDefinition["type"] => {
  if (Arrow.DataType.isUtf8(type)) return "UTF8"
  if (Arrow.DataType.isBool(type)) return "BOOLEAN"
  return Arrow.DataType.isInt(type) ? "INT32" : "DOUBLE"
}

/** Rejects with a ParquetError, or what parquetjs-lite throws. */
export const write = async (
  table: Table<Fields>,
  content: Arrow.Table,
  compression: Exclude<Compression, "zstd">,
  output: Output
): Promise<void> => {
  const { fields } = arrowSchema(table)
  const schema = new lite.ParquetSchema(
    Object.fromEntries(
      fields.map(({ name, type, nullable }) => [
        name,
        { type: typeOf(type), optional: nullable, compression: codecOf(compression), statistics: false }
      ])
    )
  )
  let closing = false
  const stream = {
    write: (bytes: Uint8Array, done: (error?: unknown) => void) => {
      ;(closing ? output.finish(bytes) : output.write(bytes)).then(() => done(), done)
    },
    end: (done: (error?: unknown) => void) => done()
  }
  const writer = await lite.ParquetWriter.openStream(schema, stream, {
    rowGroupSize: LITE_ROW_GROUP,
    useDataPageV2: false,
    pageIndex: false
  })
  const columns = fields.map((field): readonly [string, Cells] => {
    const vector = content.getChild(field.name)
    const place = { file: output.name, column: field.name }
    return [field.name, vector === null ? [] : cellsOf(field, vector, place)]
  })
  for (let from = 0; from < content.numRows; from += LITE_ROW_GROUP) {
    const to = Math.min(content.numRows, from + LITE_ROW_GROUP)
    // Each group is written out with its last row: closing then writes the footer and nothing else.
    writer.setRowGroupSize(to - from)
    for (let i = from; i < to; i++) {
      await writer.appendRow(Object.fromEntries(columns.map(([name, cells]) => [name, cells[i]])))
    }
  }
  for (const { key, value } of toKeyValue({ table: table.id, writer: "parquetjs-lite" })) {
    writer.setMetadata(key, value)
  }
  closing = true
  await writer.close()
}

const present = (value: unknown) => value !== null && value !== undefined

/** The values of a column, as pages have them. */
const dense = (rows: ReadonlyArray<Readonly<Record<string, unknown>>>, name: string) =>
  rows
    .map((row) => row[name])
    .filter(present)
    .map((value) => (typeof value === "string" ? Buffer.from(value) : value))

/** Reads row group after row group. Rejects with a ParquetError, or what parquetjs-lite throws. */
export const reader = async (file: ParquetFile, metadata: Metadata, columns: ReadonlyArray<Column>) => {
  const bytes = await file.read(0, file.size)
  const opened = await lite.ParquetReader.openBuffer(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    {
      rawStatistics: true
    }
  )
  const cursor = opened.getCursor(columns.map(({ field }) => field.name))
  return async (rowGroup: number): Promise<ReadonlyArray<Chunk>> => {
    const rows = await cursor.nextRowGroup()
    const expected = Number(metadata.raw.row_groups[rowGroup]?.num_rows)
    if (rows?.length !== expected) {
      throw parquetError(
        "Corrupt",
        { file: file.name, rowGroup },
        `has ${rows?.length ?? 0} rows, not ${expected}`
      )
    }
    return columns.map(({ field, leaf }) => {
      const values = dense(rows, field.name)
      const into = sink(leaf, values.length, { file: file.name, column: field.name, rowGroup })
      into.append(values)
      const definition =
        leaf.present === 0
          ? new Uint8Array(0)
          : Uint8Array.from(rows, (row) => (present(row[field.name]) ? 1 : 0))
      return { definition, repetition: new Uint8Array(0), dense: into.finish() }
    })
  }
}
