/**
 * Writing with hyparquet-writer: every column type, row group by row group.
 */
import { arrowSchema, type Fields, type Table } from "@tessera/core"
import * as Arrow from "apache-arrow"
import type { SchemaElement } from "hyparquet"
import { ByteWriter, ParquetWriter } from "hyparquet-writer"
import { isList, timestampUnit, typeName } from "./ArrowTypes.js"
import { byteSize, cellsOf } from "./Cells.js"
import { codecOf, type Compression, compressorsFor } from "./Compression.js"
import { parquetError, type Place } from "./Errors.js"
import { CREATED_BY, toKeyValue } from "./Marks.js"
import type { Output } from "./Output.js"

/** Rows of a row group at most, and about its bytes. */
const GROUP_ROWS = 131_072
const GROUP_BYTES = 16 << 20

const leaf = (type: Arrow.DataType): Omit<SchemaElement, "name"> | undefined => {
  if (Arrow.DataType.isUtf8(type)) {
    return { type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } }
  }
  if (Arrow.DataType.isBool(type)) return { type: "BOOLEAN" }
  if (Arrow.DataType.isInt(type) && type.isSigned) {
    if (type.bitWidth === 32) return { type: "INT32" }
    if (type.bitWidth === 64) return { type: "INT64" }
  }
  if (Arrow.DataType.isFloat(type)) {
    if (type.precision === Arrow.Precision.SINGLE) return { type: "FLOAT" }
    if (type.precision === Arrow.Precision.DOUBLE) return { type: "DOUBLE" }
  }
  const unit = timestampUnit(type)
  return unit === undefined
    ? undefined
    : { type: "INT64", logical_type: { type: "TIMESTAMP", isAdjustedToUTC: false, unit } }
}

/** The schema of one column, its lists in the form of three levels. */
const elements = (
  name: string,
  { type, nullable }: Arrow.Field,
  place: Place
): ReadonlyArray<SchemaElement> => {
  const repetition_type = nullable ? "OPTIONAL" : "REQUIRED"
  const [item] = isList(type) ? type.children : []
  if (item !== undefined) {
    return [
      { name, repetition_type, num_children: 1, converted_type: "LIST", logical_type: { type: "LIST" } },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      ...elements("element", item, place)
    ]
  }
  const found = leaf(type)
  if (found === undefined) {
    throw parquetError(
      "Unsupported",
      place,
      `is ${typeName(type)}, which is not written; use a column type of core`
    )
  }
  return [{ name, repetition_type, ...found }]
}

/** A dictionary would make one value of 0 and -0. */
const encodingOf = (type: Arrow.DataType): { readonly encoding: "PLAIN" } | Record<string, never> => {
  const [item] = isList(type) ? type.children : []
  if (item !== undefined) return encodingOf(item.type)
  return Arrow.DataType.isFloat(type) ? { encoding: "PLAIN" } : {}
}

/** The bytes since the last call. */
const drain = (writer: ByteWriter): Uint8Array => {
  const bytes = writer.getBytes()
  writer.index = 0
  return bytes
}

/** @param content has the table's columns, of its types. Rejects with a ParquetError. */
export const write = async (
  table: Table<Fields>,
  content: Arrow.Table,
  compression: Compression,
  output: Output
): Promise<void> => {
  const { fields } = arrowSchema(table)
  const file = output.name
  const bytes = new ByteWriter()
  const writer = new ParquetWriter({
    writer: bytes,
    schema: [
      { name: "schema", num_children: fields.length },
      ...fields.flatMap((field) => elements(field.name, field, { file, column: field.name }))
    ],
    codec: codecOf(compression),
    compressors: await compressorsFor(compression),
    createdBy: CREATED_BY,
    kvMetadata: toKeyValue({ table: table.id, writer: "hyparquet" })
  })
  const size = fields.reduce((sum, { name }) => sum + byteSize(content.getChild(name)), 0)
  const rowBytes = Math.max(1, size / Math.max(1, content.numRows))
  const step = Math.min(GROUP_ROWS, Math.max(1, Math.floor(GROUP_BYTES / rowBytes)))
  for (let from = 0, rowGroup = 0; from < content.numRows; from += step, rowGroup++) {
    const rows = Math.min(step, content.numRows - from)
    const columnData = fields.map((field) => {
      const vector = content.getChild(field.name)?.slice(from, from + rows)
      const cells = vector === undefined ? [] : cellsOf(field, vector, { file, column: field.name, rowGroup })
      return {
        name: field.name,
        data: cells as Array<unknown>,
        offsetIndex: false,
        ...encodingOf(field.type)
      }
    })
    await writer.write({ columnData, rowGroupSize: rows })
    await output.write(drain(bytes))
  }
  if (content.numRows === 0) await output.write(drain(bytes))
  await writer.finish()
  await output.finish(drain(bytes))
}
