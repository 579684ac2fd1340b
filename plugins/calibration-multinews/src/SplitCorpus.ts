/**
 * One corpus as two without a common item: one to calibrate with, one to validate with.
 */
import { Corpus } from "@tessera/attention"
import { stage } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"

export const splitCorpus = stage("split-corpus", {
  version: "1",
  module: import.meta.url,
  description: "Splits a corpus into items to calibrate with and items held out",
  inputs: { corpus: Corpus },
  outputs: { corpus: Corpus, heldOut: Corpus },
  params: Schema.Struct({
    /** Share of the items that is held out, evenly over the corpus: with 0.25 every fourth. */
    share: Schema.optionalWith(Schema.Number.pipe(Schema.greaterThan(0), Schema.lessThan(1)), {
      default: () => 0.25
    })
  }),
  run: ({ corpus }, { share }) => {
    const items = Stream.zipWithIndex(corpus.rows)
    const isHeldOut = (index: number) => Math.floor((index + 1) * share) > Math.floor(index * share)
    const part = (heldOut: boolean) =>
      items.pipe(
        Stream.filter(([, index]) => isHeldOut(index) === heldOut),
        Stream.map(([row]) => row)
      )
    return Effect.succeed({ corpus: part(false), heldOut: part(true) })
  }
})
