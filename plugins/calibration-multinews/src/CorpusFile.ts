/**
 * Reads Multi-News files: JSON lines, or the Parquet files of the Hub.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Either, Schema } from "effect"
import { CalibrationError } from "./Errors.js"

export interface NewsRow {
  readonly id: string | undefined
  readonly document: string
  readonly summary: string
}

const NewsJson = Schema.Struct({
  id: Schema.optional(Schema.Union(Schema.String, Schema.Number)),
  document: Schema.String,
  summary: Schema.String
})
const decodeRow = Schema.decodeUnknownEither(NewsJson)
const required = ["document", "summary"] as const

const missing = (where: string, found: ReadonlyArray<string>): CalibrationError | undefined => {
  const column = required.find((name) => !found.includes(name))
  return column === undefined
    ? undefined
    : new CalibrationError({
        reason: "MissingColumn",
        where,
        detail: `there is no column ${column}; it has ${found.join(", ") || "none"}. Multi-News has document and summary`
      })
}

const invalid = (where: string, what: string, cause?: unknown) =>
  new CalibrationError({ reason: "InvalidFile", where, detail: what, cause })

const toRow = (where: string, value: unknown): Either.Either<NewsRow, CalibrationError> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return Either.left(invalid(where, "is not an object with document and summary"))
  }
  const absent = missing(where, Object.keys(value))
  if (absent !== undefined) return Either.left(absent)
  return Either.mapBoth(decodeRow(value), {
    onLeft: (error) => invalid(where, `document and summary must be text: ${error.message}`, error),
    onRight: ({ id, document, summary }) => ({
      id: id === undefined ? undefined : String(id),
      document,
      summary
    })
  })
}

const readJsonLines = (path: string, name: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text = yield* Effect.mapError(fs.readFileString(path), (cause) =>
      invalid(name, `cannot be read: ${cause.message}`, cause)
    )
    const lines = text.split("\n").map((line, i) => [i + 1, line.trim()] as const)
    return yield* Effect.forEach(
      lines.filter(([, line]) => line !== ""),
      ([number, line]) => {
        const where = `${name}:${number}`
        return Either.flatMap(
          Either.try({
            try: () => JSON.parse(line) as unknown,
            catch: (cause) => invalid(where, "is not valid JSON", cause)
          }),
          (value) => toRow(where, value)
        )
      }
    )
  })

const readParquet = (path: string, name: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const bytes = yield* Effect.mapError(fs.readFile(path), (cause) =>
      invalid(name, `cannot be read: ${cause.message}`, cause)
    )
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer
    const parquet = <A>(read: () => Promise<A>) =>
      Effect.tryPromise({
        try: read,
        catch: (cause) => invalid(name, "is not a valid Parquet file; fetch it again", cause)
      })
    // Imported for Parquet alone.
    const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = yield* Effect.promise(
      () => import("hyparquet")
    )
    const { compressors } = yield* Effect.promise(() => import("hyparquet-compressors"))
    const metadata = yield* parquet(() => parquetMetadataAsync(file))
    const columns = parquetSchema(metadata).children.map(({ element }) => element.name)
    const absent = missing(name, columns)
    if (absent !== undefined) return yield* absent
    const wanted = columns.includes("id") ? ["id", ...required] : [...required]
    const rows = yield* parquet(() => parquetReadObjects({ file, metadata, columns: wanted, compressors }))
    return yield* Effect.forEach(rows, (row, i) => {
      const id: unknown = row["id"]
      const { id: _, ...rest } = row
      // 64-bit ids come as bigint.
      const named =
        typeof id === "bigint" ? { ...rest, id: String(id) } : id === null || id === undefined ? rest : row
      return toRow(`${name} row ${i + 1}`, named)
    })
  })

/** @param name the file's name, for messages. */
export const readCorpusFile = (
  path: string,
  name: string
): Effect.Effect<ReadonlyArray<NewsRow>, CalibrationError, FileSystem.FileSystem> =>
  name.endsWith(".parquet") ? readParquet(path, name) : readJsonLines(path, name)
