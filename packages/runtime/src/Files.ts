/**
 * Reading a model folder's files, with errors that name the file.
 */
import type * as Platform from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, ParseResult, Schema } from "effect"
import { ModelError } from "./Errors.js"

/** @internal What a failed read of a file means. `todo` says what to do when the file is not there. */
export const readFailure = (path: string, todo: string) => (cause: Platform.PlatformError) =>
  new ModelError({
    reason: "NotFound",
    path,
    detail:
      cause._tag === "SystemError" && cause.reason === "NotFound"
        ? `there is no such file; ${todo}`
        : `cannot be read: ${cause.message}`,
    cause
  })

/** @internal Decodes a value, naming the file and the place in it where decoding failed. */
export const decode =
  <A, I>(schema: Schema.Schema<A, I>, reason: ModelError["reason"], path: string) =>
  (value: unknown): Effect.Effect<A, ModelError> =>
    Schema.decodeUnknown(schema)(value).pipe(
      Effect.mapError((cause) => {
        const issues = ParseResult.ArrayFormatter.formatErrorSync(cause)
          .map((issue) => `${issue.path.length === 0 ? "the whole" : issue.path.join(".")}: ${issue.message}`)
          .join("; ")
        return new ModelError({ reason, path, detail: `is not as expected: ${issues}`, cause })
      })
    )

/** @internal Parses JSON text. */
export const parseJson = (
  text: string,
  reason: ModelError["reason"],
  path: string
): Effect.Effect<unknown, ModelError> =>
  Effect.try({
    try: (): unknown => JSON.parse(text),
    catch: (cause) =>
      new ModelError({ reason, path, detail: `is not JSON: ${String(cause)}; fetch the file again`, cause })
  })

/** @internal */
export const readJson = (
  path: string,
  reason: ModelError["reason"],
  todo: string
): Effect.Effect<unknown, ModelError, FileSystem.FileSystem> =>
  FileSystem.FileSystem.pipe(
    Effect.flatMap((fs) => fs.readFileString(path)),
    Effect.mapError(readFailure(path, todo)),
    Effect.flatMap((text) => parseJson(text, reason, path))
  )

/** @internal The JSON of a file that a folder need not have. */
export const readOptionalJson = (
  path: string,
  reason: ModelError["reason"]
): Effect.Effect<unknown, ModelError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const there = yield* fs.exists(path).pipe(Effect.mapError(readFailure(path, "")))
    return there ? yield* readJson(path, reason, "") : undefined
  })
