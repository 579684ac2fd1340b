/**
 * Calibration corpora in the words of the demo model: made, not stored, so a seed is all there is to keep.
 */
import { Corpus } from "@tessera/attention"
import { stage } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"
import { approximateTokens } from "./ApproximateTokens.js"
import { lineSlack, lineTokens, makeLineRecord, type Part } from "./Lines.js"
import { makeNews } from "./News.js"
import { documentSeparator } from "./Prompts.js"
import { random } from "./Random.js"
import { itemName, Lengths, Seed, Split } from "./Sets.js"

const CorpusParams = Schema.Struct({
  /** Length classes in tokens of the demo model; prompt, answer and end token together fill at least nine tenths. */
  lengths: Lengths,
  /** Items of each length. */
  items: Schema.optionalWith(Schema.Int.pipe(Schema.between(1, 9999)), { default: () => 8 }),
  seed: Seed,
  /** Equal seeds give unrelated items in different splits. */
  split: Schema.optionalWith(Split, { default: () => "calibration" as const })
})

const numbered = ({ lengths, items }: typeof CorpusParams.Type) =>
  lengths.flatMap((length) => Array.from({ length: items }, (_, index) => ({ length, index })))

/** Share of a length to plan for: counts without a tokenizer are up to 2% too low on short items. */
const certain = 0.97

/** Multi-document news with their reference summaries, as a corpus of the `multi_news` form. */
export const demoNews = stage("demo-news", {
  version: "1",
  module: import.meta.url,
  description: "Generates multi-document news with reference summaries",
  inputs: {},
  outputs: { corpus: Corpus },
  params: CorpusParams,
  reproducible: "bitwise",
  run: (_inputs, params) =>
    Effect.succeed({
      corpus: Stream.fromIterable(numbered(params)).pipe(
        Stream.map(({ length, index }) => {
          const news = makeNews(
            random("news", params.split, params.seed, length, index),
            Math.floor(length * certain),
            approximateTokens
          )
          return {
            item: itemName("news", length, index),
            dataset: "multi_news",
            document: news.documents.join(documentSeparator),
            question: "",
            answer: news.summary
          }
        })
      )
    })
})

/** In this order every prefix of the items is spread over the depths. */
const eighths = [0, 4, 2, 6, 1, 5, 3, 7] as const

/** Where an item's question is. The first of eight asks for the first line: only heads that keep everything see it. */
const partOf = (index: number, lines: number): Part => {
  const part = eighths[index % eighths.length] ?? 0
  return { part, of: part === 0 ? lines : eighths.length }
}

/** Records of named lines with one question each, as a corpus of the `longeval` form. */
export const demoLines = stage("demo-lines", {
  version: "1",
  module: import.meta.url,
  description: "Generates line-retrieval records with one question each",
  inputs: {},
  outputs: { corpus: Corpus },
  params: CorpusParams,
  reproducible: "bitwise",
  run: (_inputs, params) =>
    Effect.succeed({
      corpus: Stream.fromIterable(numbered(params)).pipe(
        Stream.mapEffect(({ length, index }) => {
          const stream = random("lines", params.split, params.seed, length, index)
          const room = length - lineSlack(stream, length) - lineTokens.rest
          const lines = Math.floor(room / lineTokens.line)
          const record = makeLineRecord(stream, lines, [partOf(index, lines)])
          return Effect.fromNullable(record.questions[0]).pipe(
            Effect.orDie,
            Effect.map(({ question, answer }) => ({
              item: itemName("lines", length, index),
              dataset: "longeval",
              document: record.text,
              question,
              answer
            }))
          )
        })
      )
    })
})
