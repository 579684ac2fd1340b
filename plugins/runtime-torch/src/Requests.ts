/**
 * Generation, scores and influence, asked of a model on a worker.
 */
import { type Plan, planWindows } from "@tessera/attention"
import {
  checkGenerate,
  checkInfluences,
  checkPlan,
  checkScore,
  type GenerateRequest,
  type Generation,
  type InfluenceItem,
  type InfluenceOptions,
  type InfluenceResult,
  type ModelConfig,
  type RuntimeError,
  type Score,
  type ScoreRequest
} from "@tessera/runtime"
import { Float64, Int32 } from "apache-arrow"
import { Chunk, Effect, Stream } from "effect"
import { bigNumbers, flagLists, idLists, numbers } from "./ArrowFiles.js"
import { failed, NAME } from "./Errors.js"
import type { Model } from "./Model.js"
import type { LoweredPlan } from "./Protocol.js"

/** Plans lowered for their lengths, each once; rows name them by their index. */
const planIndex = (config: ModelConfig) => {
  const lowered: Array<LoweredPlan> = []
  const known = new Map<Plan, Map<number, number>>()
  return {
    lowered,
    /** @param length N in the rules. */
    of: (plan: Plan | undefined, length: number): Effect.Effect<number | undefined, RuntimeError> => {
      if (plan === undefined) return Effect.succeed(undefined)
      const lengths = known.get(plan) ?? new Map<number, number>()
      known.set(plan, lengths)
      const found = lengths.get(length)
      if (found !== undefined) return Effect.succeed(found)
      return Effect.map(checkPlan(NAME, config, plan), () => {
        const { block, sink } = plan.geometry
        const index = lowered.push({ block, sink, windows: planWindows(plan, length) }) - 1
        lengths.set(length, index)
        return index
      })
    }
  }
}

/** Prompts that are asked at once: the worker makes batches of them, and the first answers come while others wait. */
const PROMPTS = 64

const generateSome = (
  model: Model,
  requests: ReadonlyArray<GenerateRequest>
): Effect.Effect<ReadonlyArray<Generation>, RuntimeError> =>
  Effect.gen(function* () {
    const plans = planIndex(model.config)
    const planned = yield* Effect.forEach(requests, ({ plan, prompt, maxNewTokens }) =>
      plans.of(plan, plan?.length === "prompt" ? prompt.length : prompt.length + maxNewTokens)
    )
    return yield* model.ask(
      "generate",
      { batchTokens: null, plans: plans.lowered },
      {
        prompt: idLists(requests.map(({ prompt }) => prompt)),
        maxNewTokens: numbers(
          new Int32(),
          requests.map(({ maxNewTokens }) => maxNewTokens)
        ),
        stop: idLists(requests.map(({ stop = model.config.endOfText }) => stop)),
        temperature: numbers(
          new Float64(),
          requests.map(({ sampling }) => sampling?.temperature)
        ),
        topP: numbers(
          new Float64(),
          requests.map(({ sampling }) => sampling?.topP)
        ),
        seed: bigNumbers(requests.map(({ sampling }) => sampling?.seed)),
        plan: numbers(new Int32(), planned)
      },
      (table) => {
        const ended = table.texts("ended")
        return table.idLists("tokens").map((tokens, i): Generation => ({
          tokens: Array.from(tokens),
          ended: ended[i] === "stop" ? "stop" : "length"
        }))
      }
    )
  })

export const generate = (
  model: Model,
  requests: ReadonlyArray<GenerateRequest>
): Stream.Stream<Generation, RuntimeError> =>
  Stream.fromIterable(requests).pipe(
    Stream.mapEffect((request) => Effect.as(checkGenerate(NAME, model.config, request), request)),
    Stream.rechunk(PROMPTS),
    Stream.mapChunksEffect((some) =>
      Effect.map(generateSome(model, Chunk.toReadonlyArray(some)), Chunk.unsafeFromArray)
    )
  )

export const score = (
  model: Model,
  request: ScoreRequest
): Effect.Effect<ReadonlyArray<Score>, RuntimeError> =>
  Effect.gen(function* () {
    const { config } = model
    yield* checkScore(NAME, config, request)
    const { prefix, continuations, plan } = request
    const longest = Math.max(0, ...continuations.map((tokens) => tokens.length))
    const plans = planIndex(config)
    const planned = yield* plans.of(plan, request.length ?? prefix.length + longest)
    const asked = continuations.filter((tokens) => tokens.length > 0)
    const found =
      asked.length === 0
        ? []
        : yield* model.ask(
            "score",
            { plans: plans.lowered },
            {
              prefix: idLists(asked.map(() => prefix)),
              continuation: idLists(asked),
              plan: numbers(
                new Int32(),
                asked.map(() => planned)
              )
            },
            (table) => {
              const predicted = table.idLists("predicted")
              return table
                .floatLists("loss")
                .map((loss, i): Score => ({ loss, predicted: predicted[i] ?? new Int32Array(0) }))
            }
          )
    const answers = found.values()
    const nothing = { loss: new Float32Array(0), predicted: new Int32Array(0) }
    return continuations.map((tokens) => (tokens.length === 0 ? nothing : (answers.next().value ?? nothing)))
  })

/** One item's influence, or the sum of several. */
export const influence = (
  model: Model,
  items: ReadonlyArray<InfluenceItem>,
  { objective, block, sum, reduce }: InfluenceOptions
): Effect.Effect<InfluenceResult, RuntimeError> =>
  Effect.gen(function* () {
    const { config } = model
    yield* checkInfluences(NAME, config, items, { objective, block, sum, ...(reduce && { reduce }) })
    const { layer, loss, blocks, values } = yield* model.ask(
      "influence",
      {
        objective,
        block,
        sum,
        keep: reduce === undefined ? "blocks" : "windows",
        sink: reduce?.sink ?? 0,
        total: items.length > 1
      },
      {
        tokens: idLists(items.map(({ tokens }) => tokens)),
        mask: flagLists(items.map(({ mask }) => mask))
      },
      (table) => ({
        layer: table.numbers("layer"),
        loss: table.numbers("loss"),
        blocks: table.numbers("blocks"),
        values: table.floatLists("values")
      })
    )
    const layers = Array.from({ length: config.layers }, (_, l) => values[layer.indexOf(l)])
    const side = blocks[0] ?? 0
    const size = config.queryHeads * (reduce === undefined ? side ** 2 : side + 1)
    const whole = layers.filter((values) => values?.length === size)
    return layer.length === config.layers && whole.length === config.layers
      ? { loss: loss[0] ?? Number.NaN, blocks: side, layers: whole.filter((values) => values !== undefined) }
      : yield* failed(
          "Execution",
          `the worker answered ${layer.length} layers of [${values.map((one) => one.length).join(", ")}] values; ` +
            `${config.layers} of ${size} were expected`
        )
  })
