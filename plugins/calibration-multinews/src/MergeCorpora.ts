/**
 * Two corpora as one: a calibration set may mix data sets, as the official one does.
 */
import { Corpus } from "@tessera/attention"
import { stage } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"

export const mergeCorpora = stage("merge-corpora", {
  version: "1",
  module: import.meta.url,
  description: "Puts two corpora together",
  inputs: { first: Corpus, second: Corpus },
  outputs: { corpus: Corpus },
  params: Schema.Struct({}),
  run: ({ first, second }) => Effect.succeed({ corpus: Stream.concat(first.rows, second.rows) })
})
