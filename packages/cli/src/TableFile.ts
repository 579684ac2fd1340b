/**
 * A table of the store as a file that other tools open.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type { Fields, Table } from "@tessera/core"
import { type Artifact, Store } from "@tessera/store"
import type * as Arrow from "apache-arrow"
import { Effect, Schema } from "effect"
import type { Content } from "./ArtifactText.js"
import { CliError } from "./Failure.js"
import * as Format from "./Format.js"

const failed = (where: string, detail: string, hint: string) =>
  new CliError({ reason: "Output", where, detail, hint })

const place = "Check that its folder exists and can be written."

/** The declaration of a stored table. */
const declared = (id: string, { fields }: Arrow.Schema): Table<Fields> => ({
  kind: "table",
  id,
  fields: Object.fromEntries(
    fields.map(({ name, type, nullable }) => [
      name,
      { arrow: type, nullable, schema: Schema.Unknown, _A: (value: never) => value }
    ])
  )
})

const writeParquet = (artifact: Artifact, table: Arrow.Table, file: string) =>
  Effect.gen(function* () {
    // Imported for Parquet alone.
    const { encodeFile } = yield* Effect.promise(() => import("@tessera/parquet"))
    yield* encodeFile(declared(artifact.type, table.schema), table, file)
  }).pipe(
    Effect.mapError(({ reason, column, detail }) =>
      reason === "Io"
        ? failed(file, detail, place)
        : failed(
            file,
            column === undefined ? detail : `column ${column} ${detail}`,
            "*.arrow takes any table."
          )
    )
  )

/** The blob of a table is an Arrow file already. */
const writeArrow = (artifact: Artifact, file: string) =>
  Effect.gen(function* () {
    const store = yield* Store
    const fs = yield* FileSystem.FileSystem
    const blob = yield* store.blobPath(artifact.digest)
    const bytes = yield* fs.readFile(blob)
    yield* fs.writeFile(file, bytes)
  }).pipe(
    Effect.catchTags({
      BadArgument: ({ message }) => failed(file, `cannot be written: ${message}`, place),
      SystemError: ({ message }) => failed(file, `cannot be written: ${message}`, place)
    })
  )

/** Writes a table in the format of the file's extension; gives a line about it. */
export const write = (artifact: Artifact, content: Content, file: string) =>
  Effect.gen(function* () {
    if (content.kind !== "table") {
      return yield* failed(
        file,
        `only a table can be written, and this is a ${content.kind}`,
        "tessera show without --output shows it, and --json gives all of a document."
      )
    }
    const extension = /\.(parquet|arrow)$/.exec(file)?.[1]
    if (extension === undefined) {
      return yield* failed(file, "its name says no format that is written", "Call it *.parquet or *.arrow.")
    }
    yield* extension === "arrow" ? writeArrow(artifact, file) : writeParquet(artifact, content.table, file)
    const fs = yield* FileSystem.FileSystem
    const size = yield* Effect.orElseSucceed(fs.stat(file), () => ({ size: 0n }))
    const columns = content.table.schema.fields.length
    return `${file}  ${content.table.numRows} rows, ${columns} columns, ${Format.bytes(Number(size.size))}`
  })
