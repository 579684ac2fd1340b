/**
 * Questions with known answers for the demo model, sized exactly with the tokenizer of the model to be measured.
 */
import { EvaluationSet, Model } from "@tessera/attention"
import { stage, type Row } from "@tessera/core"
import { openTokenizer, type Tokenizer } from "@tessera/runtime"
import { Effect, Schema, Stream } from "effect"
import { DemoError } from "./Errors.js"
import { lineSlack, lineTokens, makeLineRecord, mostLines, type LineRecord } from "./Lines.js"
import { makeNews, type News } from "./News.js"
import { demoPrompts, documentSeparator, renderAnswer, renderPrompt } from "./Prompts.js"
import { random } from "./Random.js"
import { itemName, Lengths, Seed, Split } from "./Sets.js"

type Item = Row<typeof EvaluationSet>

const Count = (fallback: number, least: number) =>
  Schema.optionalWith(Schema.Int.pipe(Schema.between(least, 9999)), { default: () => fallback })

/** Tokens of a context as the model reads it, with the longest of the texts that may follow it and the end token. */
const countTokens = (tokenizer: Tokenizer, context: string, continuations: ReadonlyArray<string>): number =>
  tokenizer.encode(context).length +
  Math.max(...continuations.map((text) => tokenizer.encode(text, { special: false }).length)) +
  1

const tooShort = (length: number, what: string) =>
  new DemoError({
    reason: "LengthTooShort",
    detail: `${length} tokens of this model do not hold ${what}; ask for a longer length or fewer questions`
  })

/** The longest record that fits the class with each of its questions and answers. */
const fitRecord = (
  tokenizer: Tokenizer,
  labels: ReadonlyArray<string | number>,
  length: number,
  questions: number
): Effect.Effect<LineRecord, DemoError> =>
  Effect.gen(function* () {
    const room = length - lineSlack(random(...labels, "slack"), length)
    const parts = Array.from({ length: questions }, (_, part) => ({ part, of: questions }))
    const make = (lines: number) => makeLineRecord(random(...labels), lines, parts)
    const excess = ({ text, questions }: LineRecord) =>
      countTokens(
        tokenizer,
        text,
        questions.map((q) => q.question + q.answer)
      ) - room
    // Right at once under the demo tokenizer; under another it finds its way in a few steps.
    let lines = Math.min(mostLines, Math.max(1, Math.floor((room - lineTokens.rest) / lineTokens.line)))
    let over = excess(make(lines))
    if (over > 0) {
      lines = Math.max(1, Math.floor((lines * room) / (room + over)))
      over = excess(make(lines))
    }
    while (over > 0 && lines > 1) over = excess(make(--lines))
    if (over > 0 || lines < questions) return yield* tooShort(length, `a record with ${questions} questions`)
    while (lines < mostLines && excess(make(lines + 1)) <= 0) lines++
    return make(lines)
  })

const lineItems = (
  tokenizer: Tokenizer,
  params: Params,
  length: number,
  index: number
): Effect.Effect<ReadonlyArray<Item>, DemoError> =>
  fitRecord(tokenizer, ["lines", params.split, params.seed, length, index], length, params.questions).pipe(
    Effect.map((made) => {
      const record = itemName("lines", length, index)
      return made.questions.map(({ question, answer, depth }, i) => ({
        item: `${record}-${i}`,
        task: "longeval",
        length,
        record,
        context: renderPrompt(demoPrompts.longeval, made.text, ""),
        question,
        answer: renderAnswer(demoPrompts.longeval, answer),
        depth
      }))
    })
  )

const newsItem = (
  tokenizer: Tokenizer,
  params: Params,
  length: number,
  index: number
): Effect.Effect<Item, DemoError> =>
  Effect.gen(function* () {
    const labels = ["news", params.split, params.seed, length, index]
    const count = (text: string) => tokenizer.encode(text, { special: false }).length
    const render = (news: News) => ({
      context: renderPrompt(demoPrompts.multi_news, news.documents.join(documentSeparator), ""),
      answer: renderAnswer(demoPrompts.multi_news, news.summary)
    })
    const over = (item: { readonly context: string; readonly answer: string }) =>
      countTokens(tokenizer, item.context, [item.answer]) - length
    const make = (budget: number) => render(makeNews(random(...labels), budget, count))
    let room = length
    let item = make(room)
    // Tokens of pieces need not add up to those of the whole under every tokenizer.
    for (let tries = 0; tries < 5 && over(item) > 0; tries++) {
      room -= over(item)
      item = make(room)
    }
    if (over(item) > 0) return yield* tooShort(length, "an event's facts and its summary")
    const record = itemName("news", length, index)
    // The facts are spread over the whole context.
    return { item: record, task: "summary", length, record, ...item, question: "", depth: 0.5 }
  })

const EvaluationParams = Schema.Struct({
  /** Whether plans are chosen (`validation`) or reported (`test`) with it. */
  split: Split,
  /**
   * Length classes in tokens: context, question, answer and end token together are no longer, and with the demo model
   * no more than a twentieth shorter.
   */
  lengths: Lengths,
  /** Records of lines of each length. */
  records: Count(8, 0),
  /** Questions about each record, at stratified depths; together they need the record only once. */
  questions: Count(5, 1),
  /** News with summaries of each length. */
  summaries: Count(8, 0),
  seed: Seed
})
type Params = typeof EvaluationParams.Type

/** Line retrieval and news summaries in the words of the demo model. */
export const demoEvaluation = stage("demo-evaluation", {
  version: "1",
  module: import.meta.url,
  description: "Generates retrieval questions and summaries with known answers",
  inputs: { model: Model },
  outputs: { evaluation: EvaluationSet },
  params: EvaluationParams,
  reproducible: "bitwise",
  run: ({ model }, params, task) =>
    openTokenizer(model.path).pipe(
      Effect.map((tokenizer) => ({
        evaluation: Stream.fromIterable(params.lengths).pipe(
          Stream.tap((length) =>
            task.report({
              done: params.lengths.indexOf(length),
              total: params.lengths.length,
              unit: "lengths",
              label: `${length} tokens`
            })
          ),
          Stream.flatMap((length) =>
            Stream.concat(
              Stream.range(1, params.records).pipe(
                Stream.mapEffect((i) => lineItems(tokenizer, params, length, i - 1)),
                Stream.flattenIterables
              ),
              Stream.range(1, params.summaries).pipe(
                Stream.mapEffect((i) => newsItem(tokenizer, params, length, i - 1))
              )
            )
          )
        )
      }))
    )
})
