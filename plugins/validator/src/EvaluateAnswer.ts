/**
 * Measures plans on one held-out calibration item: the loss of the model's own answer (MoA §4.3 validates at unseen
 * lengths so).
 */
import { CalibrationSet, Candidates, Model } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { ModelRuntime, onRuntime } from "@tessera/runtime"
import { Effect, Stream } from "effect"
import { ValidatorError } from "./Errors.js"
import { ItemMeasurement, MeasureParams, measurePlans, plansOf, type Sequence } from "./Measure.js"

const sequenceOf = ({
  item,
  length,
  tokens,
  mask
}: Row<typeof CalibrationSet>): Effect.Effect<Sequence, ValidatorError> => {
  const answer = mask.length - mask.indexOf(true)
  return mask.includes(true) && mask.slice(-answer).every(Boolean)
    ? Effect.succeed({ item, task: "answer", length, depth: 0.5, all: tokens, answer })
    : new ValidatorError({
        reason: "EmptyAnswer",
        detail: `the answer of item ${item} is not the end of its tokens, so it cannot be measured`
      })
}

/** Meant for `evaluateAnswer.each` over a calibration set sharded by `item`. */
export const evaluateAnswer = stage("evaluate-answer", {
  version: "1",
  module: import.meta.url,
  description: "Measures the loss of a held-out answer under every plan",
  inputs: { model: Model, heldOut: CalibrationSet, candidates: Candidates },
  outputs: { items: ItemMeasurement },
  params: MeasureParams,
  ...onRuntime,
  run: ({ model, heldOut, candidates }, { dense }, task) =>
    Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      const loaded = yield* runtime.load(model.path)
      const plans = yield* plansOf(yield* candidates.value, dense)
      const rows = yield* Effect.forEach(yield* Stream.runCollect(heldOut.rows), (row) =>
        Effect.flatMap(sequenceOf(row), (sequence) => measurePlans(loaded, plans, [sequence], task.report))
      )
      return { items: Stream.fromIterable(rows.flat()) }
    })
})
