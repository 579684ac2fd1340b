/**
 * LongEval line retrieval (lm-sys LongChat; the form that MoA's Long_Retrieval uses) for any chat model: a record of lines,
 * each with a number, and questions for the number of one line.
 */
import { EvaluationSet, Model } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { openTokenizer, type Tokenizer } from "@tessera/runtime"
import { Effect, Random, Schema, Stream } from "effect"
import { ValidatorError } from "./Errors.js"

type Item = Row<typeof EvaluationSet>

const header =
  "Below is a record of lines I want you to remember. Each line begins with 'line <line index>' and contains a " +
  "'<REGISTER_CONTENT>' at the end of the line as a numerical value. For each line index, memorize its corresponding " +
  "<REGISTER_CONTENT>. At the end of the record, I will ask you to retrieve the corresponding <REGISTER_CONTENT> of a " +
  "certain line index. Now the record start:\n\n"

interface Line {
  readonly index: number
  readonly content: number
}

const render = ({ index, content }: Line): string => `line ${index}: REGISTER_CONTENT is <${content}>\n`
const ask = ({ index }: Line): string =>
  `\nNow the record is over. Tell me what is the <REGISTER_CONTENT> in line ${index}? I need the number.`

/** The prompt in the tokenizer's chat template, or as it stands where it has none; cut where the question begins. */
const promptOf = (tokenizer: Tokenizer, record: string, question: string) => {
  const whole = tokenizer.chat?.([{ role: "user", content: record + question }]) ?? `${record}${question}\n`
  // Whoever encodes the context adds the begin-of-text token that templates write too.
  const begin = tokenizer.decode(tokenizer.encode(""), { special: true })
  const prompt = whole.startsWith(begin) ? whole.slice(begin.length) : whole
  const at = prompt.lastIndexOf(question)
  return { context: prompt.slice(0, at), question: prompt.slice(at) }
}

/** Different indices for as many lines, and a number for each. */
const makeLines = (count: number): Effect.Effect<ReadonlyArray<Line>> =>
  Effect.gen(function* () {
    const taken = new Set<number>()
    while (taken.size < count) taken.add(yield* Random.nextIntBetween(1, 100_000))
    return yield* Effect.forEach(taken, (index) =>
      Effect.map(Random.nextIntBetween(10_000, 50_000), (content) => ({ index, content }))
    )
  })

const Count = (fallback: number) =>
  Schema.optionalWith(Schema.Int.pipe(Schema.between(1, 10_000)), { default: () => fallback })

const LongEvalParams = Schema.Struct({
  /** Length classes in tokens: record, question, chat template and the room for an answer are no longer. */
  lengths: Schema.NonEmptyArray(Schema.Int.pipe(Schema.positive())),
  /** Records of each length. */
  records: Count(5),
  /** Questions about each record, at evenly spread depths. */
  questions: Count(10),
  /** Tokens left free for the answer. */
  maxNewTokens: Count(64),
  seed: Schema.optionalWith(Schema.Int, { default: () => 0 })
})

const record = (
  tokenizer: Tokenizer,
  params: typeof LongEvalParams.Type,
  length: number,
  index: number
): Effect.Effect<ReadonlyArray<Item>, ValidatorError> =>
  Effect.gen(function* () {
    const room = length - params.maxNewTokens
    const all = yield* makeLines(Math.max(params.questions, Math.ceil(length / 8)))
    const text = (count: number) => header + all.slice(0, count).map(render).join("")
    const fits = (count: number) => {
      const longest = { index: 99_999, content: 0 }
      const { context, question } = promptOf(tokenizer, text(count), ask(longest))
      return tokenizer.encode(context + question).length <= room
    }
    // The most lines that fit.
    let [low, high] = [0, all.length]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (fits(middle)) low = middle
      else high = middle - 1
    }
    if (low < params.questions) {
      return yield* new ValidatorError({
        reason: "LengthTooShort",
        detail: `${length} tokens of this model hold ${low} lines, fewer than the ${params.questions} questions about them; ask for a longer length or fewer questions`
      })
    }
    const name = `lines-${length}-${index}`
    const lines = text(low)
    return Array.from({ length: params.questions }, (_, i): Item => {
      const at = Math.floor(((i + 0.5) / params.questions) * low)
      const line = all[at] ?? { index: 0, content: 0 }
      return {
        item: `${name}-${i}`,
        task: "longeval",
        length,
        record: name,
        ...promptOf(tokenizer, lines, ask(line)),
        answer: String(line.content),
        depth: (at + 0.5) / low
      }
    })
  }).pipe(Effect.withRandom(Random.make(`${params.seed} ${length} ${index}`)))

/** Line retrieval at given lengths, in the chat template of the model to be measured. */
export const longEval = stage("long-eval", {
  version: "1",
  module: import.meta.url,
  description: "Generates LongEval line-retrieval questions",
  inputs: { model: Model },
  outputs: { evaluation: EvaluationSet },
  params: LongEvalParams,
  reproducible: "bitwise",
  run: ({ model }, params) =>
    Effect.map(openTokenizer(model.path), (tokenizer) => ({
      evaluation: Stream.fromIterable(params.lengths).pipe(
        Stream.flatMap((length) =>
          Stream.range(1, params.records).pipe(
            Stream.mapEffect((i) => record(tokenizer, params, length, i - 1)),
            Stream.flattenIterables
          )
        )
      )
    }))
})
