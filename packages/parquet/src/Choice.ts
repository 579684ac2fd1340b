/**
 * Which library writes and reads a file, and why.
 *
 * parquetjs-lite serves the text and summary tables that are its own. It returns dictionary columns as text, rounds
 * int64, loses the sign of -0, refuses NaN, orders text statistics by UTF-16, becomes slow with large row groups, and
 * cannot read zstd, newer encodings or files of format version 2; so it gets nothing where any of this could matter.
 */
import { type Fields, arrowSchema, type Table } from "@tessera/core"
import * as Arrow from "apache-arrow"
import type { Compression } from "./Compression.js"
import { typeName } from "./ArrowTypes.js"
import { byteSize } from "./Cells.js"
import type { Library } from "./Marks.js"
import type { Metadata } from "./Metadata.js"
import { physicalOf } from "./Physical.js"

export interface Choice {
  readonly library: Library
  readonly why: string
}

/** The largest table that parquetjs-lite writes, in rows and in bytes. */
export const LITE_ROWS = 32_768
export const LITE_BYTES = 64 << 20
/** Rows of each of its row groups: it reads larger ones in quadratic time. */
export const LITE_ROW_GROUP = 4096

const hyparquet = (why: string): Choice => ({ library: "hyparquet", why })
const lite = (why: string): Choice => ({ library: "parquetjs-lite", why })

const isLiteType = (type: Arrow.DataType): boolean =>
  Arrow.DataType.isUtf8(type) ||
  Arrow.DataType.isBool(type) ||
  (Arrow.DataType.isInt(type) && type.bitWidth === 32 && type.isSigned) ||
  (Arrow.DataType.isFloat(type) && type.precision === Arrow.Precision.DOUBLE)

/** It keeps columns in plain objects, and splits paths at commas. */
const isLiteName = (name: string): boolean => /^[A-Za-z_]\w*$/.test(name) && !(name in Object.prototype)

const isLiteNumber = (value: unknown) =>
  typeof value !== "number" || !(Number.isNaN(value) || Object.is(value, -0))

/** What of a table parquetjs-lite would not keep exactly, in words. */
const unfit = (table: Table<Fields>, content: Arrow.Table): string | undefined => {
  if (content.numRows > LITE_ROWS) return `it has more than ${LITE_ROWS} rows`
  const { fields } = arrowSchema(table)
  for (const { name, type } of fields) {
    if (!isLiteName(name)) return `the name of column ${name} is not a plain word`
    if (!isLiteType(type)) return `column ${name} is ${typeName(type)}`
    const vector = content.getChild(name)
    if (Arrow.DataType.isFloat(type) && vector !== null) {
      for (const value of vector as Iterable<unknown>) {
        if (!isLiteNumber(value)) return `column ${name} has ${Object.is(value, -0) ? "-0" : "NaN"}`
      }
    }
  }
  const bytes = fields.reduce((sum, { name }) => sum + byteSize(content.getChild(name)), 0)
  return bytes > LITE_BYTES ? `it has more than ${LITE_BYTES >> 20} MiB` : undefined
}

/** @param content has the table's columns */
export const writerFor = (table: Table<Fields>, content: Arrow.Table, compression: Compression): Choice => {
  if (compression === "zstd") return hyparquet("parquetjs-lite has no zstd")
  const why = unfit(table, content)
  return why === undefined ? lite("a small table of text and plain numbers") : hyparquet(why)
}

const liteCodecs = new Set(["UNCOMPRESSED", "SNAPPY", "GZIP"])
const liteEncodings = new Set(["PLAIN", "RLE"])

/** What of a file that this codec wrote with parquetjs-lite is not as it writes it, in words. */
const foreign = ({ raw, schema }: Metadata): string | undefined => {
  if (raw.version !== 1) return `it has format version ${raw.version}`
  for (const { element, children } of schema.children) {
    const physical = physicalOf(element)
    const fits =
      ["text", "bool", "double"].includes(physical.kind) ||
      (physical.kind === "int" && physical.bits === 32 && physical.signed)
    if (children.length > 0 || element.repetition_type === "REPEATED" || !fits) {
      return `column ${element.name} is none that it writes`
    }
  }
  for (const { columns, num_rows } of raw.row_groups) {
    if (num_rows > LITE_ROW_GROUP) return `it has row groups of more than ${LITE_ROW_GROUP} rows`
    for (const { meta_data } of columns) {
      if (meta_data === undefined || Number(meta_data.dictionary_page_offset ?? 0) > 0)
        return "it has dictionaries"
      if (!liteCodecs.has(meta_data.codec)) return `it is compressed by ${meta_data.codec}`
      if (!meta_data.encodings.every((encoding) => liteEncodings.has(encoding)))
        return "it has other encodings"
    }
  }
  return undefined
}

/** Only what this codec wrote with parquetjs-lite, checksum and all, is read with it. */
export const readerFor = (metadata: Metadata): Choice => {
  if (metadata.marks?.writer !== "parquetjs-lite") {
    return hyparquet(
      metadata.marks === undefined ? "it is not a file of this codec" : "hyparquet-writer wrote it"
    )
  }
  const why = foreign(metadata)
  return why === undefined ? lite("parquetjs-lite wrote it") : hyparquet(why)
}
