/**
 * Measures plans on token sequences that end with an answer.
 */
import { type Candidate, density, kvBytes, type Plan } from "@tessera/attention"
import { bool, float64, int32, type Row, table, type Task, utf8 } from "@tessera/core"
import type { LoadedModel, ModelConfig, RuntimeError, Score } from "@tessera/runtime"
import { Effect, Schema } from "effect"
import { ValidatorError } from "./Errors.js"
import { retrieves } from "./Retrieve.js"

/** One plan on one item. */
export const ItemMeasurement = table("ItemMeasurement/1", {
  plan: utf8,
  task: utf8,
  length: int32,
  item: utf8,
  depth: float64,
  /** Whether the model gives the answer, as `Judge` says. */
  exact: bool,
  /** Sum over the answer's tokens, its end token included where it has one, in nats. */
  loss: float64,
  /** How many tokens that is. */
  tokens: int32,
  kv_bytes: float64,
  density: float64
})
export type ItemMeasurement = Row<typeof ItemMeasurement>

/** What the stages that measure plans are asked. */
export const MeasureParams = Schema.Struct({
  /** Measure the dense model too, as plan `dense`. */
  dense: Schema.optionalWith(Schema.Boolean, { default: () => true })
})

/** When an answer counts as exact. */
export const Judge = Schema.Struct({
  /** `tokens`: greedy decoding gives its tokens. `number`: the last number that the model writes is it (LongEval). */
  judge: Schema.optionalWith(Schema.Literal("tokens", "number"), { default: () => "tokens" as const }),
  /** How many tokens the model may write where it is judged by its last number. */
  maxNewTokens: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 64 })
})
export type Judge = typeof Judge.Type

/** An item as tokens, of which the last `answer` ones are measured. */
export interface Sequence {
  readonly item: string
  readonly task: string
  /** The length class in tokens. */
  readonly length: number
  readonly depth: number
  readonly all: ReadonlyArray<number>
  readonly answer: number
}

/** The plans of a list of candidates, `undefined` for dense before them where it is asked for. */
export const plansOf = (
  { candidates }: { readonly candidates: ReadonlyArray<Candidate> },
  dense: boolean
): Effect.Effect<ReadonlyArray<Plan | undefined>, ValidatorError> => {
  const plans = candidates.map(({ plan }) => plan)
  const twice = plans.find(
    (plan, i) => plan.name === "dense" || plans.findIndex(({ name }) => name === plan.name) < i
  )
  return twice === undefined
    ? Effect.succeed(dense ? [undefined, ...plans] : plans)
    : new ValidatorError({
        reason: "DuplicatePlan",
        detail: `two plans are named ${twice.name}; name every candidate differently, and none "dense"`
      })
}

/** How many tokens the sequences share at their start; at least one token before each answer is left to each. */
const sharedPrefix = (sequences: ReadonlyArray<Sequence>): number => {
  const shortest = Math.min(...sequences.map(({ all, answer }) => all.length - answer))
  const [first] = sequences
  let shared = 0
  while (shared < shortest && sequences.every(({ all }) => all[shared] === first?.all[shared])) shared++
  return shared
}

/** N of the rules, in tokens, as generating the answers would have it: that of the longest sequence. */
const plannedLength = (plan: Plan | undefined, sequences: ReadonlyArray<Sequence>): number =>
  Math.max(
    ...sequences.map(({ all, answer }) => (plan?.length === "prompt" ? all.length - answer : all.length))
  )

const measured = (
  plan: Plan | undefined,
  { item, task, length, depth, all, answer }: Sequence,
  score: Score,
  shared: number,
  { kvHeads, layers, headDim, bytesPerElement }: ModelConfig
): ItemMeasurement => {
  const from = score.loss.length - answer
  let loss = 0
  let exact = true
  for (let i = from; i < score.loss.length; i++) {
    loss += score.loss[i] ?? 0
    exact &&= score.predicted[i] === all[shared + i]
  }
  return {
    plan: plan?.name ?? "dense",
    task,
    length,
    item,
    depth,
    exact,
    loss,
    tokens: answer,
    kv_bytes:
      plan === undefined
        ? layers * kvHeads * length * 2 * headDim * bytesPerElement
        : kvBytes(plan, length, bytesPerElement),
    density: plan === undefined ? 1 : density(plan, length)
  }
}

/** Every plan on every sequence, plan by plan. What all sequences begin with is computed once per plan. */
export const measurePlans = (
  loaded: LoadedModel,
  plans: ReadonlyArray<Plan | undefined>,
  sequences: ReadonlyArray<Sequence>,
  report: Task["report"],
  { judge, maxNewTokens }: Judge = { judge: "tokens", maxNewTokens: 0 }
): Effect.Effect<ReadonlyArray<ItemMeasurement>, RuntimeError | ValidatorError> =>
  Effect.gen(function* () {
    if (sequences.length === 0) return []
    const shared = sharedPrefix(sequences)
    const prefix = sequences[0]?.all.slice(0, shared) ?? []
    const rows = yield* Effect.forEach(plans, (plan, i) =>
      Effect.gen(function* () {
        yield* report({ done: i, total: plans.length, unit: "plans", label: plan?.name ?? "dense" })
        const scores = yield* loaded.score({
          prefix,
          continuations: sequences.map(({ all }) => all.slice(shared)),
          ...(plan === undefined ? {} : { plan }),
          length: plannedLength(plan, sequences)
        })
        const right = judge === "number" ? yield* retrieves(loaded, plan, sequences, maxNewTokens) : undefined
        return sequences.flatMap((sequence, k) => {
          const score = scores[k]
          if (score === undefined) return []
          const row = measured(plan, sequence, score, shared, loaded.config)
          return [right === undefined ? row : { ...row, exact: right[k] ?? false }]
        })
      })
    )
    const bad = rows.flat().find(({ loss }) => !Number.isFinite(loss))
    if (bad !== undefined) {
      return yield* new ValidatorError({
        reason: "NotFinite",
        detail: `the loss of item ${bad.item} under plan ${bad.plan} is ${bad.loss}; check the model's weights`
      })
    }
    return rows.flat()
  })
