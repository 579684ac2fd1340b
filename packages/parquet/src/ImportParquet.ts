/**
 * Parquet files as a table of a pipeline.
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { arrowSchema, type Fields, stage, type Table, tree } from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Effect, Schema, Stream } from "effect"
import { decodeBatches } from "./Decode.js"
import { asParquetError, parquetError } from "./Errors.js"

/** Parquet files: one, or a folder of them. */
export const ParquetFiles = tree("Parquet/1")

const listed = (folder: string) =>
  Effect.tryPromise({
    try: async () => {
      const all = await fs.readdir(folder, { recursive: true })
      return all
        .map((name) => name.replaceAll("\\", "/"))
        .filter((name) => name.endsWith(".parquet"))
        .sort((a, b) => (a < b ? -1 : 1))
    },
    catch: asParquetError("Io", { file: folder }, "cannot be listed")
  })

/**
 * The stage that reads Parquet files as the given table: all `*.parquet` of the tree, one after the other in the order
 * of their names. Their columns may be more than the table's, and may be nullable where they have no nulls.
 *
 * ```ts
 * const { table } = importParquet(Corpus)({ files: source(ParquetFiles, "corpus.parquet") }, {})
 * ```
 */
export const importParquet = <const F extends Fields>(type: Table<F>) =>
  stage("import-parquet", {
    version: "1",
    module: import.meta.url,
    description: `Reads ${type.id} from Parquet files`,
    inputs: { files: ParquetFiles },
    outputs: { table: type },
    params: Schema.Struct({}),
    run: ({ files }, _, task) =>
      Effect.gen(function* () {
        const names = yield* listed(files.path)
        if (names.length === 0) {
          return yield* parquetError(
            "NoFiles",
            { file: files.path },
            "has no *.parquet; give such a file, or a folder"
          )
        }
        const batches: Array<Arrow.RecordBatch> = []
        for (const [done, name] of names.entries()) {
          yield* task.report({ done, total: names.length, unit: "files", label: name })
          yield* Stream.runForEach(decodeBatches(type, join(files.path, name), { name }), (batch) =>
            Effect.sync(() => void batches.push(batch))
          )
        }
        return { table: new Arrow.Table(arrowSchema(type), batches) }
      })
  })
