/**
 * What this codec leaves in the key-value metadata of its files.
 */
import type { KeyValue } from "hyparquet"

/** The id of the table, such as `Influence/1`. */
const TABLE = "tessera.table"
/** The library that wrote the file. */
const WRITER = "tessera.writer"
/** The SHA-256 of the whole file, with zeros where it stands itself. */
const SUM = "tessera.sha256"

/** Stands for the sum until it is known. */
export const NO_SUM = "0".repeat(64)

/** `created_by` of files that hyparquet-writer wrote for this codec. */
export const CREATED_BY = "tessera (hyparquet-writer)"
/** What parquetjs-lite always writes there. */
export const CREATED_BY_LITE = "parquet.js"

export type Library = "parquetjs-lite" | "hyparquet"

export interface Marks {
  readonly table: string
  readonly writer: Library
  readonly sha256: string
}

export const toKeyValue = ({
  table,
  writer
}: Omit<Marks, "sha256">): Array<{ key: string; value: string }> => [
  { key: TABLE, value: table },
  { key: WRITER, value: writer },
  { key: SUM, value: NO_SUM }
]

/**
 * The marks of a file that this codec wrote. Other tools copy key-value metadata into files of their own (pyarrow
 * does), so they count only together with who says to have created the file.
 */
export const fromMetadata = (metadata: {
  readonly created_by?: string
  readonly key_value_metadata?: ReadonlyArray<KeyValue>
}): Marks | undefined => {
  const value = (key: string) => metadata.key_value_metadata?.find((entry) => entry.key === key)?.value
  const writer = value(WRITER)
  const sha256 = value(SUM)
  const lite = writer === "parquetjs-lite" && metadata.created_by === CREATED_BY_LITE
  const hyparquet = writer === "hyparquet" && metadata.created_by === CREATED_BY
  if ((!lite && !hyparquet) || sha256 === undefined) return undefined
  return { table: value(TABLE) ?? "Parquet/1", writer, sha256 }
}
