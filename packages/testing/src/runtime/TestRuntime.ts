/**
 * The contract of a `ModelRuntime`, asked of any model: what its answers must have to do with each other.
 */
import {
  addInfluences,
  type InfluenceOptions,
  type InfluenceResult,
  type LoadedModel,
  ModelRuntime,
  reduceBlocks,
  type Tokens
} from "@tessera/runtime"
import { Chunk, type Duration, Effect, type Layer, ManagedRuntime, Stream } from "effect"
import { afterAll, describe, it } from "vitest"
import { type Checks, ensure, refused, same } from "../Check.js"
import { dropped } from "./Dropped.js"
import { leavesWorking } from "./Interruption.js"

export interface RuntimeFixture {
  /** A folder of a small model. */
  readonly model: string
  /** About 48 token ids of its vocabulary. */
  readonly tokens: ReadonlyArray<number>
  /** How far losses in nats may be apart that should be equal, relative to the larger of 1 and themselves. Default 1e-3. */
  readonly tolerance?: number
  /** How far an influence may be from what dropping one entry does, relative to the largest looked at. Default 0.1. */
  readonly nonlinearity?: number
  /** How long an interruption may take. Default: 10 seconds. */
  readonly patience?: Duration.DurationInput
}

const NEW = 6
const BLOCK = 4

const near = (a: number, b: number, tolerance: number) =>
  Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b))

const generated = (model: LoadedModel, prompts: ReadonlyArray<Tokens>) =>
  Effect.map(
    Stream.runCollect(model.generate(prompts.map((prompt) => ({ prompt, maxNewTokens: NEW, stop: [] })))),
    Chunk.toReadonlyArray
  )

/** Block sums over blocks twice as large. */
const coarser = (sums: Float32Array, heads: number, blocks: number): Float64Array => {
  const half = blocks / 2
  const result = new Float64Array(heads * half * half)
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < blocks; i++) {
      for (let j = 0; j < blocks; j++) {
        const to = head * half * half + (i >> 1) * half + (j >> 1)
        result[to] = (result[to] ?? 0) + (sums[head * blocks * blocks + i * blocks + j] ?? Number.NaN)
      }
    }
  }
  return result
}

/** Every check; they need the runtime. */
export const runtimeChecks = ({
  model: folder,
  tokens: given,
  tolerance = 1e-3,
  nonlinearity = 0.1,
  patience = "10 seconds"
}: RuntimeFixture): Checks<ModelRuntime> => {
  // Whole blocks, and two of them make one.
  const tokens = given.slice(0, given.length - (given.length % (2 * BLOCK)))
  const half = Math.floor(tokens.length / 2)
  const [prefix, rest] = [tokens.slice(0, half), tokens.slice(half)]
  const withModel = (check: (model: LoadedModel) => Effect.Effect<void, unknown>) =>
    Effect.scoped(
      Effect.flatMap(
        Effect.flatMap(ModelRuntime, (runtime) => runtime.load(folder)),
        check
      )
    )
  const influence = (model: LoadedModel, block: number, sum: "signed" | "abs") =>
    model.influence({
      tokens,
      mask: tokens.map((_, i) => i >= half),
      objective: "cross-entropy",
      block,
      sum
    })

  return {
    "gives the same tokens, losses and influences again, bit by bit": withModel((model) =>
      Effect.gen(function* () {
        const all = Effect.all([
          generated(model, [prefix]),
          model.score({ prefix, continuations: [rest] }),
          influence(model, BLOCK, "signed")
        ])
        const first = yield* all
        yield* same(yield* all, first, "the same requests again")
      })
    ),

    "generates what it scores as likeliest, one prompt or several": withModel((model) =>
      Effect.gen(function* () {
        const shorter = prefix.slice(0, prefix.length >> 1)
        const [one] = yield* generated(model, [prefix])
        const several = yield* generated(model, [shorter, prefix])
        yield* same(several[1], one, "a prompt among others")
        const continuation = one?.tokens ?? []
        yield* same([continuation.length, one?.ended], [NEW, "length"], "tokens of a generation")
        const [score] = yield* model.score({ prefix, continuations: [continuation] })
        yield* same(
          [...(score?.predicted ?? [])],
          [...continuation],
          "greedy predictions of what was generated"
        )
      })
    ),

    "scores a continuation alike alone, among others, and wherever the prefix ends": withModel((model) =>
      Effect.gen(function* () {
        const [alone] = yield* model.score({ prefix, continuations: [rest] })
        const [, among] = yield* model.score({ prefix, continuations: [rest.slice(0, 3), rest] })
        const at = half - 5
        const [earlier] = yield* model.score({
          prefix: tokens.slice(0, at),
          continuations: [tokens.slice(at)]
        })
        const losses = [...(alone?.loss ?? [])]
        yield* same(losses.length, rest.length, "losses of a continuation")
        for (const [i, loss] of losses.entries()) {
          for (const [what, other] of [
            ["among others", among?.loss[i]],
            ["after a shorter prefix", earlier?.loss[i + half - at]]
          ] as const) {
            yield* ensure(
              near(loss, other ?? Number.NaN, tolerance),
              `the loss of token ${i}: ${loss} alone, ${other} ${what}`
            )
          }
        }
      })
    ),

    "has the influence's loss from the scores, and nothing above the diagonal": withModel((model) =>
      Effect.gen(function* () {
        const result = yield* influence(model, BLOCK, "signed")
        const [score] = yield* model.score({ prefix, continuations: [rest] })
        const mean = [...(score?.loss ?? [])].reduce((sum, loss) => sum + loss, 0) / rest.length
        yield* ensure(
          near(result.loss, mean, tolerance),
          `the mean loss is ${result.loss} by influence, ${mean} by score`
        )
        const { queryHeads, layers } = model.config
        const blocks = tokens.length / BLOCK
        yield* same([result.blocks, result.layers.length], [blocks, layers], "blocks and layers")
        for (const sums of result.layers) {
          yield* same(sums.length, queryHeads * blocks * blocks, "block sums of a layer")
          const above = sums.findIndex(
            (value, i) => i % blocks > Math.floor(i / blocks) % blocks && value !== 0
          )
          yield* ensure(above < 0, `block sum ${above} lies above the diagonal and is not zero`)
          yield* ensure(sums.every(Number.isFinite), "a block sum is no finite number")
        }
      })
    ),

    "sums blocks: larger ones are the sums of smaller, and signed ones within absolute ones": withModel(
      (model) =>
        Effect.gen(function* () {
          const [fine, coarse, abs] = yield* Effect.all([
            influence(model, BLOCK, "signed"),
            influence(model, 2 * BLOCK, "signed"),
            influence(model, 2 * BLOCK, "abs")
          ])
          const { queryHeads } = model.config
          for (const [layer, sums] of fine.layers.entries()) {
            const wanted = coarser(sums, queryHeads, fine.blocks)
            const size = Math.max(...(abs.layers[layer] ?? []))
            for (const [i, value] of wanted.entries()) {
              const [found, most] = [coarse.layers[layer]?.[i] ?? NaN, abs.layers[layer]?.[i] ?? NaN]
              yield* ensure(
                Math.abs(found - value) <= tolerance * size,
                `layer ${layer}, block sum ${i}: ${found}, but its parts are ${value}`
              )
              yield* ensure(
                Math.abs(found) <= most + tolerance * size,
                `layer ${layer}, block sum ${i}: ${found} is more than the absolute sum ${most}`
              )
            }
          }
        })
    ),

    "tells by influence what dropping one entry of the attention does to the loss": withModel((model) =>
      Effect.gen(function* () {
        const effects = yield* dropped(model, tokens, half)
        const size = Math.max(...effects.map(({ expected }) => Math.abs(expected)))
        yield* ensure(size > 0, "no influence differs from zero")
        for (const { expected, found, head, layer } of effects) {
          yield* ensure(
            Math.abs(found - expected) <= nonlinearity * size,
            `layer ${layer}, head ${head}: the influence of an entry is ${expected}, dropping it changes the loss by ${found}`
          )
        }
      })
    ),

    "stops when it is interrupted, and goes on to answer": withModel((model) =>
      Effect.gen(function* () {
        const score = model.score({ prefix, continuations: [rest] })
        const before = yield* score
        const requests = Array.from({ length: 4 }, () => prefix)
        for (const [what, work] of [
          ["a generation", generated(model, requests)],
          ["an influence", influence(model, BLOCK, "signed")],
          ["a score", score]
        ] as const) {
          yield* leavesWorking(what, work, patience)
          yield* same(yield* score, before, `a score after ${what} was interrupted`)
        }
        // A stream that nobody reads to its end.
        yield* Stream.runHead(
          model.generate(requests.map((prompt) => ({ prompt, maxNewTokens: NEW, stop: [] })))
        )
        yield* same(yield* score, before, "a score after a stream was left")
      })
    ),

    "gives for windows what its block sums say, and for several items the sum of each": withModel((model) =>
      Effect.gen(function* () {
        // Items of other lengths: the shorter one ends inside a block.
        const items = [tokens, tokens.slice(1, -BLOCK - 1)].map((tokens) => ({
          tokens,
          mask: tokens.map((_, i) => i >= half)
        }))
        const blocks: InfluenceOptions = { objective: "log-odds", block: BLOCK, sum: "abs" }
        const windows: InfluenceOptions = { ...blocks, reduce: { kind: "windows", sink: BLOCK } }
        const each = yield* Effect.forEach(items, (item) => model.influence({ ...item, ...blocks }))
        const alike = (what: string, found: InfluenceResult, wanted: InfluenceResult) =>
          Effect.gen(function* () {
            yield* same(
              [found.blocks, found.layers.length],
              [wanted.blocks, wanted.layers.length],
              `blocks and layers of ${what}`
            )
            yield* ensure(
              near(found.loss, wanted.loss, tolerance),
              `the loss of ${what} is ${found.loss}; by single items and blocks it is ${wanted.loss}`
            )
            for (const [layer, values] of wanted.layers.entries()) {
              const own = found.layers[layer] ?? new Float32Array(0)
              yield* same(own.length, values.length, `values of ${what} in layer ${layer}`)
              const size = Math.max(...values)
              const wrong = values.findIndex(
                (value, i) => !(Math.abs((own[i] ?? NaN) - value) <= tolerance * size)
              )
              yield* ensure(
                wrong < 0,
                `layer ${layer}, value ${wrong} of ${what}: ${own[wrong]}, but by single items and blocks ${values[wrong]}`
              )
            }
          })
        for (const [i, result] of each.entries()) {
          const item = items[i] ?? { tokens: [], mask: [] }
          yield* alike(
            "windows",
            yield* model.influence({ ...item, ...windows }),
            reduceBlocks(result, windows)
          )
        }
        yield* alike("summed blocks", yield* model.influenceSum(items, blocks), addInfluences(each, blocks))
        yield* alike(
          "summed windows",
          yield* model.influenceSum(items, windows),
          addInfluences(
            each.map((result) => reduceBlocks(result, windows)),
            windows
          )
        )
      })
    ),

    "refuses what it cannot do with a tagged error": withModel((model) =>
      Effect.gen(function* () {
        const outside = [model.config.vocabulary]
        const wrong: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
          ["an empty prompt", generated(model, [[]])],
          ["a prompt with an id outside the vocabulary", generated(model, [outside])],
          ["a prefix with an id outside the vocabulary", model.score({ prefix: outside, continuations: [] })],
          [
            "a mask that counts nothing",
            model.influence({
              tokens,
              mask: tokens.map(() => false),
              objective: "cross-entropy",
              block: BLOCK,
              sum: "signed"
            })
          ],
          [
            "a sink that is no whole number of blocks",
            model.influence({
              tokens,
              mask: tokens.map(() => true),
              objective: "cross-entropy",
              block: BLOCK,
              sum: "signed",
              reduce: { kind: "windows", sink: BLOCK + 1 }
            })
          ],
          [
            "a sum over no items",
            model.influenceSum([], { objective: "cross-entropy", block: BLOCK, sum: "signed" })
          ]
        ]
        for (const [what, effect] of wrong) {
          const { reason } = yield* refused(effect, ["RuntimeError"], what)
          yield* same(reason, "InvalidRequest", `the reason that refuses ${what}`)
        }
      })
    ),

    "fails with a tagged error for a folder that is no model": Effect.gen(function* () {
      const runtime = yield* ModelRuntime
      yield* refused(
        Effect.scoped(runtime.load(`${folder}-that-is-not-there`)),
        ["ModelError", "RuntimeError"],
        "a missing folder"
      )
    })
  }
}

/** Registers the checks as vitest tests. */
export const testRuntime = (
  name: string,
  layer: Layer.Layer<ModelRuntime, unknown>,
  fixture: RuntimeFixture
): void => {
  describe(`the runtime ${name}`, () => {
    const runtime = ManagedRuntime.make(layer)
    afterAll(() => runtime.dispose())
    for (const [title, check] of Object.entries(runtimeChecks(fixture)))
      it(title, () => runtime.runPromise(check), 120_000)
  })
}
