/**
 * Calibration sets: items cut to target lengths, answered by the model itself (MoA §3: supervision by the model's own
 * long answers rather than by human ones).
 */
import { CalibrationSet, Corpus, Model } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { type LoadedModel, ModelRuntime, onRuntime, type RuntimeError } from "@tessera/runtime"
import { Chunk, Effect, Option, Schema, Stream } from "effect"
import { CalibrationError } from "./Errors.js"
import { type Rendered, render, select, type Selected } from "./Select.js"
import { moaTemplates, renderAnswer, Template } from "./Template.js"

const CalibrateParams = Schema.Struct({
  /** Length classes in tokens; prompt and answer together are no longer, and longer than half. */
  lengths: Schema.optionalWith(Schema.NonEmptyArray(Schema.Int.pipe(Schema.greaterThan(16))), {
    default: () => [2048, 4096, 8192] as const
  }),
  /** Items of each length and data set. */
  items: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 16 }),
  maxNewTokens: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 128 }),
  /** By the corpus' `dataset`; default: the official prompt for `multi_news`. */
  templates: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Template }), {
    default: () => Schema.decodeSync(Schema.Record({ key: Schema.String, value: Template }))(moaTemplates)
  }),
  /** Whose answers: the model's own, decoded greedily, or the corpus' reference. */
  answer: Schema.optionalWith(Schema.Literal("model", "reference"), { default: () => "model" as const })
})
type CalibrateParams = typeof CalibrateParams.Type

type Calibrated = Row<typeof CalibrationSet>

const selectAll = (
  { tokenizer }: LoadedModel,
  items: ReadonlyArray<Row<typeof Corpus>>,
  { lengths, items: count, templates, maxNewTokens }: CalibrateParams
): Effect.Effect<ReadonlyArray<Selected & { readonly length: number }>, CalibrationError> =>
  Effect.gen(function* () {
    const rendered: Array<Rendered> = []
    for (const item of items) {
      const template = templates[item.dataset]
      if (template === undefined) {
        return yield* new CalibrationError({
          reason: "NoTemplate",
          where: `item ${item.item}`,
          detail: `there is no template for data set ${item.dataset}; give one in templates (there are ${Object.keys(templates).join(", ")})`
        })
      }
      rendered.push(render(tokenizer, template, item, maxNewTokens))
      // Tokenizing many long documents takes a while: let others run, and an interruption in.
      yield* Effect.yieldNow()
    }
    const datasets = [...new Set(items.map(({ dataset }) => dataset))]
    return (yield* Effect.forEach([...lengths], (length) =>
      Effect.gen(function* () {
        const found = yield* Effect.forEach(datasets, (dataset) => {
          const own = rendered.filter(({ item }) => item.dataset === dataset)
          const chosen = select(tokenizer, own, length, count, maxNewTokens)
          return chosen.length < count
            ? Effect.as(
                Effect.logWarning(
                  `${chosen.length} of ${count} items of ${dataset} fill ${length} tokens; there are no more`
                ),
                chosen
              )
            : Effect.succeed(chosen)
        })
        if (found.flat().length === 0) {
          return yield* new CalibrationError({
            reason: "NoItems",
            where: `length ${length}`,
            detail: `none of ${items.length} items fills more than half of it; use shorter lengths or longer documents`
          })
        }
        return found.flat().map((selected) => ({ ...selected, length }))
      })
    )).flat()
  })

/** The reference answer's tokens and the end token, as far as they fit. */
const reference = (
  { tokenizer, config }: LoadedModel,
  { item, room }: Selected,
  { templates }: CalibrateParams
): ReadonlyArray<number> => {
  const template = templates[item.dataset]
  const text = template === undefined ? item.answer : renderAnswer(template, item.answer)
  return [...tokenizer.encode(text, { special: false }), ...config.endOfText.slice(0, 1)].slice(0, room)
}

/** An answer an item, in order. The prompts go to the runtime together, which may batch them. */
const answers = (
  loaded: LoadedModel,
  selected: ReadonlyArray<Selected>,
  params: CalibrateParams
): Stream.Stream<ReadonlyArray<number>, RuntimeError> =>
  params.answer === "reference"
    ? Stream.fromIterable(selected).pipe(Stream.map((one) => reference(loaded, one, params)))
    : Stream.map(
        loaded.generate(selected.map(({ prompt, room }) => ({ prompt: prompt.tokens, maxNewTokens: room }))),
        ({ tokens }) => tokens
      )

export const calibrate = stage("calibrate", {
  version: "1",
  module: import.meta.url,
  description: "Cuts items to target lengths and has the model answer them",
  inputs: { model: Model, corpus: Corpus },
  outputs: { calibration: CalibrationSet },
  params: CalibrateParams,
  ...onRuntime,
  run: ({ model, corpus }, params, task) =>
    Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      const loaded = yield* runtime.load(model.path)
      const items = Chunk.toReadonlyArray(yield* Stream.runCollect(corpus.rows))
      const selected = yield* selectAll(loaded, items, params)
      const stops = new Set(loaded.config.endOfText)
      const answered = Stream.zipWithIndex(
        Stream.zip(Stream.fromIterable(selected), answers(loaded, selected, params))
      )
      const report = (done: number, label = "") =>
        task.report({ done, total: selected.length, unit: "items", label })
      yield* report(0)
      const rows = yield* answered.pipe(
        Stream.mapEffect(([[{ item, prompt, length }, answer], i]) =>
          Effect.gen(function* () {
            yield* report(i + 1, `${item.item} at ${length}`)
            if (answer.every((token) => stops.has(token))) {
              yield* Effect.logWarning(
                `item ${item.item} at ${length} tokens has an empty answer and is left out`
              )
              return Option.none<Calibrated>()
            }
            return Option.some<Calibrated>({
              item: `${item.item}@${length}`,
              dataset: item.dataset,
              length,
              tokens: [...prompt.tokens, ...answer],
              mask: [...prompt.tokens.map(() => false), ...answer.map(() => true)],
              prompt: prompt.text,
              answer: loaded.tokenizer.decode(answer),
              cut: prompt.cut
            })
          })
        ),
        Stream.filterMap((row) => row),
        Stream.runCollect
      )
      if (Chunk.isEmpty(rows)) {
        return yield* new CalibrationError({
          reason: "NoItems",
          where: `${selected.length} items`,
          detail:
            "the model gives every one an empty answer; check the prompt's template, or use the reference answers"
        })
      }
      return { calibration: Stream.fromIterable(rows) }
    })
})
