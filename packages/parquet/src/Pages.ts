/**
 * The pages of one column chunk: hyparquet decodes each, this module checks them and puts them together.
 */
import * as zlib from "node:zlib"
import type { Compressors, DataReader, PageHeader } from "hyparquet"
import { compressors as builtIn } from "hyparquet-compressors"
import { parquetHeader } from "hyparquet/src/column.js"
import { DEFAULT_PARSERS } from "hyparquet/src/convert.js"
import { decompressPage, readDataPage, readDataPageV2 } from "hyparquet/src/datapage.js"
import { readPlain } from "hyparquet/src/plain.js"
import { getMaxDefinitionLevel, getMaxRepetitionLevel } from "hyparquet/src/schema.js"
import type { ColumnDecoder } from "hyparquet/src/types.js"
import { asParquetError, parquetError, type Place } from "./Errors.js"
import { chunkRange, type Metadata } from "./Metadata.js"
import type { ParquetFile } from "./ParquetFile.js"
import type { Column } from "./Shape.js"
import { type Dense, sink, type Sink } from "./Values.js"

/** A column chunk as it lies in the file: its values without nulls, and where they and the nulls go. */
export interface Chunk {
  /** Definition levels, one per entry. */
  readonly definition: Uint8Array
  /** Repetition levels, one per entry; empty where nothing repeats. */
  readonly repetition: Uint8Array
  readonly dense: Dense
}

/** Wider indices do not fit the arithmetic of the decoder. */
const dictionaryLimit = 2 ** 24

/** Node's gunzip is native, and checks what it unpacked. */
const compressors: Compressors = { ...builtIn, GZIP: (bytes) => zlib.gunzipSync(bytes) }

interface Reading {
  readonly decoder: ColumnDecoder
  readonly sink: Sink
  readonly definition: Uint8Array
  readonly repetition: Uint8Array
  readonly maxDefinition: number
  readonly maxRepetition: number
  readonly place: Place
  /** Entries so far. */
  entries: number
}

const corrupt = (place: Place, what: string) =>
  parquetError("Corrupt", place, `${what}; fetch the file again`)

const putLevels = (
  to: Uint8Array,
  at: number,
  count: number,
  from: ReadonlyArray<number> | undefined,
  max: number,
  place: Place
): void => {
  if (max === 0) return
  if (at + count > to.length) throw corrupt(place, "has more entries than its footer says")
  // Left out where every value is there.
  if (from === undefined || from.length === 0) {
    to.fill(max, at, at + count)
    return
  }
  if (from.length !== count) throw corrupt(place, `has ${from.length} levels for ${count} entries`)
  for (let i = 0; i < count; i++) {
    const level = from[i] ?? -1
    if (level < 0 || level > max) throw corrupt(place, `has a level of ${level}, and ${max} is the highest`)
    to[at + i] = level
  }
}

const dataPage = (reading: Reading, header: PageHeader, bytes: Uint8Array): void => {
  const { decoder, place, maxDefinition, maxRepetition, definition, repetition, entries } = reading
  const first = header.data_page_header
  const second = header.data_page_header_v2
  const about = first ?? second
  if (about === undefined) throw corrupt(place, "has a page without its header")
  if (
    first !== undefined &&
    ((maxDefinition > 0 && first.definition_level_encoding !== "RLE") ||
      (maxRepetition > 0 && first.repetition_level_encoding !== "RLE"))
  ) {
    throw parquetError("Unsupported", place, "has bit-packed levels; write it again with a current library")
  }
  const { codec, compressors } = decoder
  const page =
    first === undefined
      ? readDataPageV2(bytes, header, decoder)
      : readDataPage(decompressPage(bytes, header.uncompressed_page_size, codec, compressors), first, decoder)
  const count = about.num_values
  putLevels(definition, entries, count, page.definitionLevels, maxDefinition, place)
  putLevels(repetition, entries, count, page.repetitionLevels, maxRepetition, place)
  let present = count
  if (maxDefinition > 0) {
    for (let i = entries; i < entries + count; i++) if (definition[i] !== maxDefinition) present--
  }
  if (page.dataPage.length !== present) {
    throw corrupt(place, `has a page of ${page.dataPage.length} values where ${present} should be`)
  }
  if (about.encoding.endsWith("_DICTIONARY")) reading.sink.appendIndices(page.dataPage as ArrayLike<number>)
  else reading.sink.append(page.dataPage)
  reading.entries += count
}

const dictionaryPage = (reading: Reading, header: PageHeader, bytes: Uint8Array): void => {
  const { decoder, place } = reading
  const count = header.dictionary_page_header?.num_values
  if (count === undefined) throw corrupt(place, "has a dictionary without its header")
  if (count > dictionaryLimit) {
    throw parquetError("Unsupported", place, `has a dictionary of ${count} values; write it without one`)
  }
  const page = decompressPage(bytes, header.uncompressed_page_size, decoder.codec, decoder.compressors)
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength)
  reading.sink.dictionary(readPlain({ view, offset: 0 }, decoder.type, count, decoder.element.type_length))
}

const pages = (reading: Reading, bytes: Uint8Array, entries: number): void => {
  const reader: DataReader = {
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    offset: 0
  }
  while (reading.entries < entries) {
    if (reader.offset >= bytes.length) {
      throw corrupt(reading.place, `has ${reading.entries} entries, and ${entries} by its footer`)
    }
    const header = parquetHeader(reader)
    const end = reader.offset + header.compressed_page_size
    if (!(end <= bytes.length)) throw corrupt(reading.place, "has a page that ends after its column")
    const body = bytes.subarray(reader.offset, end)
    reader.offset = end
    // From Node 20.15 on.
    if (header.crc !== undefined && typeof zlib.crc32 === "function") {
      if (zlib.crc32(body) !== header.crc >>> 0)
        throw corrupt(reading.place, "has a page whose checksum differs")
    }
    if (header.type === "DICTIONARY_PAGE") dictionaryPage(reading, header, body)
    else if (header.type === "DATA_PAGE" || header.type === "DATA_PAGE_V2") dataPage(reading, header, body)
    else if (header.type !== "INDEX_PAGE") throw corrupt(reading.place, "has a page of an unknown type")
  }
}

const codecs = ["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4", "LZ4_RAW"]

/** Reads one column of one row group. Rejects with a ParquetError. */
export const readChunk = async (
  file: ParquetFile,
  metadata: Metadata,
  rowGroup: number,
  { field, path, leaf }: Column
): Promise<Chunk> => {
  const place: Place = { file: file.name, column: field.name, rowGroup }
  const names = path.slice(1).map(({ element }) => element.name)
  const meta = metadata.raw.row_groups[rowGroup]?.columns.find(
    ({ meta_data }) => meta_data?.path_in_schema.join("\0") === names.join("\0")
  )?.meta_data
  const element = path.at(-1)?.element
  if (meta === undefined || element === undefined)
    throw corrupt(place, "is in the schema, and its data is not there")
  if (!codecs.includes(meta.codec)) {
    throw parquetError(
      "Unsupported",
      place,
      `is compressed by ${meta.codec ?? "something unknown"}; use zstd or snappy`
    )
  }
  const bytes = await file.read(...chunkRange(meta))
  const entries = Number(meta.num_values)
  const maxDefinition = getMaxDefinitionLevel([...path])
  const maxRepetition = getMaxRepetitionLevel([...path])
  try {
    const reading: Reading = {
      decoder: {
        ...meta,
        pathInSchema: names,
        element,
        schemaPath: [...path],
        parsers: DEFAULT_PARSERS,
        compressors
      },
      sink: sink(leaf, entries, place),
      definition: new Uint8Array(maxDefinition === 0 ? 0 : entries),
      repetition: new Uint8Array(maxRepetition === 0 ? 0 : entries),
      maxDefinition,
      maxRepetition,
      place,
      entries: 0
    }
    pages(reading, bytes, entries)
    if (reading.entries !== entries) {
      throw corrupt(place, `has ${reading.entries} entries, and ${entries} by its footer`)
    }
    return { definition: reading.definition, repetition: reading.repetition, dense: reading.sink.finish() }
  } catch (cause) {
    throw asParquetError("Corrupt", place, "cannot be decoded; fetch the file again")(cause)
  }
}
