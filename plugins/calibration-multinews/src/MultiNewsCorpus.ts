/**
 * A corpus of Multi-News files.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { Corpus } from "@tessera/attention"
import { stage, tree } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"
import { readCorpusFile } from "./CorpusFile.js"
import { CalibrationError } from "./Errors.js"

/** A folder of *.jsonl and *.parquet files with columns document and summary, or one such file. */
export const CorpusFiles = tree("CorpusFiles/1")

export const multiNewsCorpus = stage("multi-news-corpus", {
  version: "1",
  module: import.meta.url,
  description: "Reads Multi-News items from JSON lines or Parquet",
  inputs: { files: CorpusFiles },
  outputs: { corpus: Corpus },
  params: Schema.Struct({
    /** What to do with an item without a document: leave it out and say so, or fail. */
    onEmpty: Schema.optionalWith(Schema.Literal("skip", "fail"), { default: () => "skip" as const })
  }),
  run: ({ files }, { onEmpty }) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const listed = yield* Effect.mapError(
        fs.readDirectory(files.path, { recursive: true }),
        (cause) =>
          new CalibrationError({ reason: "NoFiles", where: files.path, detail: cause.message, cause })
      )
      const names = listed.filter((name) => /\.(jsonl|parquet)$/.test(name)).sort((a, b) => (a < b ? -1 : 1))
      if (names.length === 0) {
        return yield* new CalibrationError({
          reason: "NoFiles",
          where: "corpus",
          detail: `no *.jsonl or *.parquet among ${listed.length} files; give a folder with Multi-News files`
        })
      }
      const rows = yield* Effect.forEach(names, (name) =>
        Effect.map(readCorpusFile(path.join(files.path, name), name), (rows) =>
          rows.map(({ id, document, summary }, i) => ({
            item: `${name.replace(/\.(jsonl|parquet)$/, "")}-${id ?? String(i).padStart(6, "0")}`,
            dataset: "multi_news",
            document,
            question: "",
            // Multi-News summaries begin with a dash that is not part of the text.
            answer: summary.replace(/^\s*[–-]\s+/, "")
          }))
        )
      )
      const [empty, whole] = [rows.flat().filter(isEmpty), rows.flat().filter((row) => !isEmpty(row))]
      const [first] = empty
      if (first !== undefined && onEmpty === "fail") {
        return yield* new CalibrationError({
          reason: "EmptyDocument",
          where: `item ${first.item}`,
          detail: `has an empty document (${empty.length} such); remove it, or set onEmpty to skip`
        })
      }
      yield* Effect.forEach(empty, ({ item }) =>
        Effect.logWarning(`item ${item} has an empty document and is left out`)
      )
      if (whole.length === 0) {
        return yield* new CalibrationError({
          reason: "NoItems",
          where: "corpus",
          detail: "every document is empty"
        })
      }
      return { corpus: Stream.fromIterable(whole) }
    })
})

const isEmpty = ({ document }: { readonly document: string }) =>
  document.replaceAll("|||||", "").trim() === ""
