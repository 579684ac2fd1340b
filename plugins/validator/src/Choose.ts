/**
 * Picks one plan by what was measured.
 */
import { type Candidate, Candidates, Measurements, PlanDocument } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { Chunk, Effect, Schema, Stream } from "effect"
import { ValidatorError } from "./Errors.js"
import { mean } from "./Statistics.js"

type Measurement = Row<typeof Measurements>

interface Ranked {
  readonly candidate: Candidate
  readonly accuracy: number
  readonly loss: number
}

/** Macro averages: every task counts alike, and within it every length. */
const macro = (rows: ReadonlyArray<Measurement>, value: (row: Measurement) => number): number => {
  const tasks = [...new Set(rows.map((row) => row.task))]
  return mean(tasks.map((task) => mean(rows.filter((row) => row.task === task).map(value))))
}

export const choose = stage("choose", {
  version: "1",
  module: import.meta.url,
  description: "Picks the plan that measured best",
  inputs: { candidates: Candidates, measurements: Measurements },
  outputs: { plan: PlanDocument, chosen: Candidates },
  params: Schema.Struct({
    /** `loss`: the smallest answer loss, as the paper does. `accuracy`: the most exact answers, then the loss. */
    criterion: Schema.optionalWith(Schema.Literal("accuracy", "loss"), {
      default: () => "accuracy" as const
    }),
    /** The name of the chosen plan; default: the candidate's own. */
    name: Schema.optional(Schema.String)
  }),
  run: ({ candidates, measurements }, { criterion, name }) =>
    Effect.gen(function* () {
      const rows = Chunk.toReadonlyArray(yield* Stream.runCollect(measurements.rows)).filter(
        ({ depth }) => depth === "all"
      )
      const list = (yield* candidates.value).candidates
      const ranked = yield* Effect.forEach(list, (candidate): Effect.Effect<Ranked, ValidatorError> => {
        const own = rows.filter(({ plan }) => plan === candidate.plan.name)
        if (own.length === 0) {
          return new ValidatorError({
            reason: "NoMeasurements",
            detail: `plan ${candidate.plan.name} was not measured; evaluate the same candidates first`
          })
        }
        return Effect.succeed({
          candidate,
          accuracy: macro(own, (row) => row.accuracy),
          loss: macro(own, (row) => row.loss)
        })
      })
      const better = (a: Ranked, b: Ranked) =>
        (criterion === "accuracy" ? b.accuracy - a.accuracy : 0) || a.loss - b.loss
      // Stable: of equals the first candidate wins, on every machine.
      const [best] = [...ranked].sort(better)
      if (best === undefined) return yield* Effect.dieMessage("candidates are never empty")
      const { candidate, accuracy, loss } = best
      const plan = {
        ...candidate.plan,
        name: name ?? candidate.plan.name,
        provenance: {
          ...candidate.plan.provenance,
          candidate: candidate.plan.name,
          "chosen by": criterion,
          "chosen from": String(list.length),
          "validation accuracy": accuracy.toFixed(4),
          "validation loss": loss.toFixed(6)
        }
      }
      return { plan, chosen: { candidates: [{ ...candidate, plan }] as const } }
    })
})
