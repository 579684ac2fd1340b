/**
 * The footer of a Parquet file, checked against the file before anything is decoded.
 */
import { createHash } from "node:crypto"
import { type FileMetaData, parquetMetadata, parquetSchema, type SchemaTree } from "hyparquet"
import { asParquetError, parquetError } from "./Errors.js"
import * as Marks from "./Marks.js"
import { digest, type ParquetFile } from "./ParquetFile.js"

export interface Metadata {
  readonly raw: FileMetaData
  readonly schema: SchemaTree
  readonly rows: number
  /** Set where this codec wrote the file. */
  readonly marks: Marks.Marks | undefined
}

const text = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes)

/** Bytes of the magic at both ends, and of the footer's length. */
const MAGIC = 4
const TAIL = 8

const checkEnds = async (file: ParquetFile): Promise<number> => {
  const place = { file: file.name }
  const head = text(await file.read(0, Math.min(MAGIC, file.size)))
  const tail = file.size < MAGIC + TAIL ? undefined : await file.read(file.size - TAIL, file.size)
  const magic = tail === undefined ? "" : text(tail.subarray(MAGIC))
  if (head === "PARE" || magic === "PARE") {
    throw parquetError("Unsupported", place, "is encrypted; write it without encryption")
  }
  if (head !== "PAR1") {
    const found = head === "ARRO" ? "; it is an Arrow file" : ""
    throw parquetError("NotParquet", place, `is not a Parquet file: it does not begin with PAR1${found}`)
  }
  if (tail === undefined || magic !== "PAR1") {
    throw parquetError("Truncated", place, "ends before its footer; fetch it again, or let its writer finish")
  }
  const length = new DataView(tail.buffer, tail.byteOffset).getUint32(0, true)
  if (length > file.size - TAIL - MAGIC) {
    throw parquetError(
      "Corrupt",
      place,
      `its footer of ${length} bytes is longer than the file; fetch it again`
    )
  }
  return file.size - TAIL - length
}

const checkChunks = (file: ParquetFile, raw: FileMetaData, leaves: number, footer: number): void => {
  for (const [rowGroup, { columns }] of raw.row_groups.entries()) {
    const place = { file: file.name, rowGroup }
    if (columns.length !== leaves) {
      throw parquetError("Corrupt", place, `has ${columns.length} columns, and the schema has ${leaves}`)
    }
    for (const { meta_data, file_path, crypto_metadata } of columns) {
      const column = meta_data?.path_in_schema.join(".")
      if (file_path !== undefined) {
        throw parquetError("Unsupported", { ...place, column }, `lies in another file, ${file_path}`)
      }
      if (meta_data === undefined || crypto_metadata !== undefined) {
        throw parquetError("Unsupported", { ...place, column }, "is encrypted; write it without encryption")
      }
      const [start, end] = chunkRange(meta_data)
      if (!(start >= MAGIC && end >= start && end <= footer)) {
        throw parquetError(
          "Truncated",
          { ...place, column },
          `should be at bytes ${start} to ${end}, and the data ends at ${footer}; fetch the file again`
        )
      }
    }
  }
}

type ColumnMetadata = NonNullable<FileMetaData["row_groups"][number]["columns"][number]["meta_data"]>

/** Where the pages of a column chunk are. */
export const chunkRange = (meta: ColumnMetadata): readonly [start: number, end: number] => {
  const data = Number(meta.data_page_offset)
  const dictionary = Number(meta.dictionary_page_offset ?? 0)
  // Some writers say 0 where there is no dictionary.
  const start = dictionary > 0 && dictionary < data ? dictionary : data
  return [start, start + Number(meta.total_compressed_size)]
}

const countLeaves = (node: SchemaTree): number =>
  node.children.length === 0 ? 1 : node.children.reduce((sum, child) => sum + countLeaves(child), 0)

/** Reads and checks the footer; a file of this codec's own, also against its checksum. Rejects with a ParquetError. */
export const readMetadata = async (file: ParquetFile): Promise<Metadata> => {
  const place = { file: file.name }
  const footer = await checkEnds(file)
  const bytes = await file.read(footer, file.size)
  const broken = asParquetError("Corrupt", place, "its footer cannot be read; fetch it again")
  const parse = () => {
    const raw = parquetMetadata(bytes, {
      geoparquet: false,
      // Statistics are not used: whatever they hold must not fail.
      parsers: { stringFromBytes: (value) => value, jsonFromBytes: (value) => value }
    })
    for (const element of raw.schema) {
      if (element.logical_type?.type === "LIST") element.converted_type ??= "LIST"
    }
    return { raw, schema: parquetSchema(raw) }
  }
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse()
  } catch (cause) {
    throw broken(cause)
  }
  const { raw, schema } = parsed
  const rows = Number(raw.num_rows)
  const inGroups = raw.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0)
  if (rows !== inGroups) {
    throw parquetError("Corrupt", place, `has ${rows} rows by its footer and ${inGroups} by its row groups`)
  }
  checkChunks(file, raw, countLeaves(schema), footer)
  const marks = Marks.fromMetadata(raw)
  if (marks !== undefined) await checkSum(file, footer, bytes, marks.sha256)
  return { raw, schema, rows, marks }
}

/** @param bytes from the footer to the end of the file */
const checkSum = async (file: ParquetFile, footer: number, bytes: Uint8Array, sum: string): Promise<void> => {
  const hash = createHash("sha256")
  await digest(file, footer, hash)
  const blank = Buffer.from(bytes)
  const at = blank.indexOf(sum)
  if (at >= 0) blank.write(Marks.NO_SUM, at)
  if (hash.update(blank).digest("hex") !== sum) {
    throw parquetError(
      "Corrupt",
      { file: file.name },
      "is not what was written: its checksum differs; copy it again"
    )
  }
}
