/**
 * Reads Multi-News files: JSON lines, or the Parquet files of the Hub.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import { table, utf8 } from "@tessera/core"
import type { ParquetError } from "@tessera/parquet"
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

const parquetFailure = (error: ParquetError): CalibrationError => {
  const { reason, column, detail, file } = error
  if (reason === "SchemaMismatch" && column === undefined) {
    return new CalibrationError({
      reason: "MissingColumn",
      where: file,
      detail: `${detail}. Multi-News has document and summary`,
      cause: error
    })
  }
  const broken = reason === "NotParquet" || reason === "Truncated" || reason === "Corrupt"
  const where = column === undefined ? file : `${file}, column ${column}`
  return invalid(where, broken ? `is not a valid Parquet file: it ${detail}` : detail, error)
}

const readParquet = (path: string, name: string) =>
  Effect.gen(function* () {
    // Imported for Parquet alone.
    const { declare, decode } = yield* Effect.promise(() => import("@tessera/parquet"))
    // Ids are text or numbers, or absent.
    const ids = yield* declare(path, { name, columns: ["id"] })
    const columns = table("MultiNews/1", { ...ids.fields, document: utf8, summary: utf8 })
    const content = yield* decode(columns, path, { name })
    return yield* Effect.forEach(content, (row, i) => {
      const { id, ...texts }: Readonly<Record<string, unknown>> = row.toJSON()
      if (id === null || id === undefined) return toRow(`${name} row ${i + 1}`, texts)
      return toRow(`${name} row ${i + 1}`, { ...texts, id: typeof id === "bigint" ? id.toString() : id })
    })
  }).pipe(Effect.mapError((error) => (error._tag === "ParquetError" ? parquetFailure(error) : error)))

/** @param name the file's name, for messages. */
export const readCorpusFile = (
  path: string,
  name: string
): Effect.Effect<ReadonlyArray<NewsRow>, CalibrationError, FileSystem.FileSystem> =>
  name.endsWith(".parquet") ? readParquet(path, name) : readJsonLines(path, name)
