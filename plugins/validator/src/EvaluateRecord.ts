/**
 * Measures plans on one record of questions: its context is computed once per plan, its questions branch off.
 */
import { Candidates, EvaluationSet, Model } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { type LoadedModel, ModelRuntime, onRuntime } from "@tessera/runtime"
import { Effect, Schema, Stream } from "effect"
import { ValidatorError } from "./Errors.js"
import { ItemMeasurement, Judge, MeasureParams, measurePlans, plansOf, type Sequence } from "./Measure.js"

const tokenize = (
  { tokenizer, config }: LoadedModel,
  row: Row<typeof EvaluationSet>
): Effect.Effect<Sequence, ValidatorError> => {
  const { item, task, length, depth, context, question, answer } = row
  const before = tokenizer.encode(context + question)
  const whole = tokenizer.encode(context + question + answer)
  // Where a token spans the boundary, the answer begins with that token.
  let start = 0
  while (start < before.length && before[start] === whole[start]) start++
  if (start >= whole.length) {
    return new ValidatorError({ reason: "EmptyAnswer", detail: `item ${item} has no answer to measure` })
  }
  const all = [...whole, ...config.endOfText.slice(0, 1)]
  return Effect.succeed({ item, task, length, depth, all, answer: all.length - start })
}

/** Meant for `evaluateRecord.each` over the evaluation set sharded by `record`. */
export const evaluateRecord = stage("evaluate-record", {
  version: "1",
  module: import.meta.url,
  description: "Measures answer loss and exactness of every plan on one record",
  inputs: { model: Model, evaluation: EvaluationSet, candidates: Candidates },
  outputs: { items: ItemMeasurement },
  params: Schema.Struct({ ...MeasureParams.fields, ...Judge.fields }),
  ...onRuntime,
  run: ({ model, evaluation, candidates }, { dense, ...judge }, task) =>
    Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      const loaded = yield* runtime.load(model.path)
      const plans = yield* plansOf(yield* candidates.value, dense)
      const items = yield* Stream.runCollect(evaluation.rows)
      const sequences = yield* Effect.forEach(items, (item) => tokenize(loaded, item))
      return {
        items: Stream.fromIterable(yield* measurePlans(loaded, plans, sequences, task.report, judge))
      }
    })
})
