import { Data } from "effect"

/**
 * - `NotParquet`: something else, by its first or last bytes.
 * - `Truncated`: begins as a Parquet file and ends too early.
 * - `Corrupt`: contradicts itself, or a checksum.
 * - `SchemaMismatch`: its columns are not those that were asked for.
 * - `OutOfRange`: a value that the column asked for cannot hold, a null among them.
 * - `Unsupported`: valid, and beyond this codec.
 * - `NoFiles`: a folder without Parquet files.
 * - `Io`: the operating system's.
 */
export type ParquetReason =
  "NotParquet" | "Truncated" | "Corrupt" | "SchemaMismatch" | "OutOfRange" | "Unsupported" | "NoFiles" | "Io"

/** Where in a file. */
export interface Place {
  /** Its path, or what the caller calls it. */
  readonly file: string
  readonly column?: string | undefined
  /** From 0. */
  readonly rowGroup?: number | undefined
}

/** A Parquet file could not be read or written exactly as asked. */
export class ParquetError extends Data.TaggedError("ParquetError")<
  Place & {
    readonly reason: ParquetReason
    /** What was wrong and what to do. */
    readonly detail: string
    readonly cause?: unknown
  }
> {
  override get message() {
    const column = this.column === undefined ? "" : `, column ${this.column}`
    const rowGroup = this.rowGroup === undefined ? "" : `, row group ${this.rowGroup}`
    return `${this.file}${column}${rowGroup}: ${this.detail}`
  }
}

export const parquetError = (
  reason: ParquetReason,
  place: Place,
  detail: string,
  cause?: unknown
): ParquetError => new ParquetError({ reason, ...place, detail, cause })

/** What a library threw, told as an error of the place where it did. Some of them throw text. */
export const asParquetError =
  (reason: ParquetReason, place: Place, detail: string) =>
  (cause: unknown): ParquetError => {
    if (cause instanceof ParquetError) return cause
    const said = cause instanceof Error ? cause.message : String(cause)
    const beyond = /unsupported (encoding|compression)/.test(said)
    return parquetError(beyond ? "Unsupported" : reason, place, `${detail} (${said})`, cause)
  }
