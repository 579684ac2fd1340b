/**
 * Measures plans on one record: its context is computed once per plan, its questions branch off.
 */
import { Candidates, density, EvaluationSet, kvBytes, Model, type Plan } from "@tessera/attention"
import { bool, float64, int32, type Row, stage, table, utf8 } from "@tessera/core"
import { type LoadedModel, type ModelConfig, ModelRuntime, type Score } from "@tessera/runtime"
import { Chunk, Effect, Schema, Stream } from "effect"
import { ValidatorError } from "./Errors.js"

/** One plan on one item. */
export const ItemMeasurement = table("ItemMeasurement/1", {
  plan: utf8,
  task: utf8,
  length: int32,
  item: utf8,
  depth: float64,
  /** Whether greedy decoding gives the answer. */
  exact: bool,
  /** Sum over the answer's tokens, its end token included, in nats. */
  loss: float64,
  /** How many tokens that is. */
  tokens: int32,
  kv_bytes: float64,
  density: float64
})

type Item = Row<typeof EvaluationSet>
type Measured = Row<typeof ItemMeasurement>

/** An item's tokens: what all items of the record share, then its own, of which the last ones are the answer. */
interface Tokens {
  readonly item: Item
  readonly all: ReadonlyArray<number>
  readonly answer: number
}

const tokenize = ({ tokenizer, config }: LoadedModel, item: Item): Effect.Effect<Tokens, ValidatorError> => {
  const before = tokenizer.encode(item.context + item.question)
  const whole = tokenizer.encode(item.context + item.question + item.answer)
  // Where a token spans the boundary, the answer begins with that token.
  let start = 0
  while (start < before.length && before[start] === whole[start]) start++
  if (start >= whole.length) {
    return new ValidatorError({ reason: "EmptyAnswer", detail: `item ${item.item} has no answer to measure` })
  }
  const [end] = config.endOfText
  return Effect.succeed({
    item,
    all: end === undefined ? whole : [...whole, end],
    answer: whole.length - start + (end === undefined ? 0 : 1)
  })
}

/** How many tokens the sequences share at their start; at least one token is left to each. */
const sharedPrefix = (sequences: ReadonlyArray<Tokens>): number => {
  const shortest = Math.min(...sequences.map(({ all, answer }) => all.length - answer))
  const [first] = sequences
  let shared = 0
  while (shared < shortest && sequences.every(({ all }) => all[shared] === first?.all[shared])) shared++
  return shared
}

/**
 * N of the rules, in tokens, as generating the answers would have it. The questions share a context and so an N: that of
 * the longest one.
 */
const plannedLength = (plan: Plan | undefined, sequences: ReadonlyArray<Tokens>): number =>
  Math.max(...sequences.map(({ all, answer }) => (plan?.length === "prompt" ? all.length - answer : all.length)))

const measured = (
  plan: Plan | undefined,
  { item, all, answer }: Tokens,
  { loss, predicted }: Score,
  shared: number,
  { kvHeads, layers, headDim, bytesPerElement }: ModelConfig
): Measured => {
  const from = loss.length - answer
  let sum = 0
  let exact = true
  for (let i = from; i < loss.length; i++) {
    sum += loss[i] ?? 0
    exact &&= predicted[i] === all[shared + i]
  }
  return {
    plan: plan?.name ?? "dense",
    task: item.task,
    length: item.length,
    item: item.item,
    depth: item.depth,
    exact,
    loss: sum,
    tokens: answer,
    kv_bytes:
      plan === undefined
        ? layers * kvHeads * item.length * 2 * headDim * bytesPerElement
        : kvBytes(plan, item.length, bytesPerElement),
    density: plan === undefined ? 1 : density(plan, item.length)
  }
}

const EvaluateParams = Schema.Struct({
  /** Measure the dense model too, as plan `dense`. */
  dense: Schema.optionalWith(Schema.Boolean, { default: () => true })
})

/** Meant for `evaluateRecord.each` over the evaluation set sharded by `record`. */
export const evaluateRecord = stage("evaluate-record", {
  version: "1",
  module: import.meta.url,
  description: "Measures answer loss and exactness of every plan on one record",
  inputs: { model: Model, evaluation: EvaluationSet, candidates: Candidates },
  outputs: { items: ItemMeasurement },
  params: EvaluateParams,
  reproducible: "device",
  resources: { cpu: 2 },
  fingerprint: Effect.flatMap(ModelRuntime, (runtime) => runtime.fingerprint),
  run: ({ model, evaluation, candidates }, { dense }, task) =>
    Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      const loaded = yield* runtime.load(model.path)
      const list = (yield* candidates.value).candidates.map(({ plan }) => plan)
      const twice = list.find(
        (plan, i) => plan.name === "dense" || list.findIndex(({ name }) => name === plan.name) < i
      )
      if (twice !== undefined) {
        return yield* new ValidatorError({
          reason: "DuplicatePlan",
          detail: `two plans are named ${twice.name}; name every candidate differently, and none "dense"`
        })
      }
      const plans: ReadonlyArray<Plan | undefined> = dense ? [undefined, ...list] : list
      const items = Chunk.toReadonlyArray(yield* Stream.runCollect(evaluation.rows))
      const sequences = yield* Effect.forEach(items, (item) => tokenize(loaded, item))
      const shared = sharedPrefix(sequences)
      const prefix = sequences[0]?.all.slice(0, shared) ?? []
      const rows = yield* Effect.forEach(plans, (plan, i) =>
        Effect.gen(function* () {
          yield* task.report({ done: i, total: plans.length, unit: "plans", label: plan?.name ?? "dense" })
          const scores = yield* loaded.score({
            prefix,
            continuations: sequences.map(({ all }) => all.slice(shared)),
            ...(plan === undefined ? {} : { plan }),
            length: plannedLength(plan, sequences)
          })
          return sequences.flatMap((tokens, k) => {
            const score = scores[k]
            return score === undefined ? [] : [measured(plan, tokens, score, shared, loaded.config)]
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
      return { items: Stream.fromIterable(rows.flat()) }
    })
})
