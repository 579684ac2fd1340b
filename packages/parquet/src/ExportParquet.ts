/**
 * A table of a pipeline as a Parquet file.
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { type Fields, stage, type Table } from "@tessera/core"
import { Effect, Schema } from "effect"
import { Compression } from "./Compression.js"
import { encodeFile } from "./Encode.js"
import { asParquetError } from "./Errors.js"
import { ParquetFiles } from "./ImportParquet.js"

/** `CalibrationSet/1` as `calibration-set`. */
const fileName = (id: string): string =>
  id
    .replace(/\/.*$/, "")
    .replace(/([a-z\d])([A-Z])/g, "$1-$2")
    .replace(/[^A-Za-z\d-]+/g, "-")
    .toLowerCase()

/**
 * The stage that writes the given table as `<name>.parquet`.
 *
 * ```ts
 * const { files } = exportParquet(Measurements)({ table: measurements }, { name: "results" })
 * ```
 */
export const exportParquet = <const F extends Fields>(type: Table<F>) =>
  stage("export-parquet", {
    version: "1",
    module: import.meta.url,
    description: `Writes ${type.id} as a Parquet file`,
    inputs: { table: type },
    outputs: { files: ParquetFiles },
    params: Schema.Struct({
      /** Of the file, without its extension. Default: that of the table. */
      name: Schema.optionalWith(Schema.String.pipe(Schema.pattern(/^\w[\w.-]*$/)), {
        default: () => fileName(type.id)
      }),
      compression: Schema.optionalWith(Compression, { default: () => "snappy" as const })
    }),
    run: ({ table }, { name, compression }, task) =>
      Effect.gen(function* () {
        const folder = join(task.scratch, "parquet")
        yield* Effect.tryPromise({
          try: () => fs.mkdir(folder),
          catch: asParquetError("Io", { file: folder }, "cannot be made")
        })
        const content = yield* table.table
        const file = `${name}.parquet`
        yield* encodeFile(type, content, join(folder, file), { compression, name: file })
        return { files: { folder } }
      })
  })
