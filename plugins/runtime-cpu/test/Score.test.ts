import { ModelRuntime } from "@tessera/runtime"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { folderOf } from "../../../packages/runtime/test/folder.js"
import { scoreOf } from "./Reference.js"
import { groupings, loadFolder, makeTiny, randomPlan, randomTokens, run, withModel } from "./TinyModel.js"

const tiny = makeTiny()
const { vocabulary } = tiny.config
const prefix = randomTokens(50, vocabulary, 5)
const continuations = [12, 1, 0, 7].map((length, i) => randomTokens(length, vocabulary, 6 + i))

const largestDifference = (got: ArrayLike<number> = [], wanted: ReadonlyArray<number> = []): number => {
  expect(got).toHaveLength(wanted.length)
  return wanted.reduce((worst, value, i) => Math.max(worst, Math.abs((got[i] ?? Number.NaN) - value)), 0)
}

const dense = continuations.map((tokens) => scoreOf(tiny, [...prefix, ...tokens], prefix.length))

describe("score", () => {
  it("equals the float64 reference for each of several continuations", async () => {
    const scores = await withModel(tiny, (model) => model.score({ prefix, continuations }))
    expect(scores).toHaveLength(continuations.length)
    continuations.forEach((_, i) => {
      expect(largestDifference(scores[i]?.loss, dense[i]?.loss)).toBeLessThan(1e-4)
      expect([...(scores[i]?.predicted ?? [])]).toEqual(dense[i]?.predicted)
    })
  })

  it.each(groupings)("equals it under random plans by %s", async (grouping) => {
    for (const seed of [11, 12]) {
      const plan = randomPlan(tiny.config, grouping, seed)
      for (const length of [undefined, 200]) {
        const request = { prefix, continuations, plan, ...(length === undefined ? {} : { length }) }
        const scores = await withModel(tiny, (model) => model.score(request))
        continuations.forEach((tokens, i) => {
          const options = { plan, length: length ?? prefix.length + 12 }
          const wanted = scoreOf(tiny, [...prefix, ...tokens], prefix.length, options)
          expect(largestDifference(scores[i]?.loss, wanted.loss)).toBeLessThan(1e-4)
          if (tokens.length > 1 && length === undefined)
            expect(Math.abs((wanted.loss[1] ?? 0) - (dense[i]?.loss[1] ?? 0))).toBeGreaterThan(1e-3)
        })
      }
    }
  })

  it("equals it under a plan over several chunks of prompt and of continuation", async () => {
    const small = makeTiny({
      config: { num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1 }
    })
    const long = randomTokens(300, vocabulary)
    const base = randomPlan(small.config, "query-head")
    const plan = {
      ...base,
      geometry: { block: 16, sink: 32, minWindow: 1 },
      rules: [
        [
          { alpha: 64, beta: 0 },
          { alpha: 0, beta: 1 }
        ],
        [
          { alpha: 0, beta: 0.3 },
          { alpha: 48, beta: 0.1 }
        ]
      ]
    }
    const wanted = scoreOf(small, long, 1, { plan }).loss
    for (const at of [1, 280]) {
      const [score] = await withModel(small, (model) =>
        model.score({ prefix: long.slice(0, at), continuations: [long.slice(at)], plan })
      )
      expect(largestDifference(score?.loss, wanted.slice(at - 1))).toBeLessThan(1e-4)
    }
  })

  it("gives a continuation the same loss alone as among others", async () => {
    const plan = randomPlan(tiny.config, "kv-head")
    const [together, alone] = await withModel(tiny, (model) =>
      Effect.all([
        model.score({ prefix, continuations, plan, length: 62 }),
        Effect.forEach(continuations, (tokens) =>
          model.score({ prefix, continuations: [tokens], plan, length: 62 })
        )
      ])
    )
    together.forEach((score, i) => expect([...score.loss]).toEqual([...(alone[i]?.[0]?.loss ?? [])]))
  })

  it("gives the same losses wherever prefix and continuation are parted", async () => {
    const tokens = [...prefix, ...(continuations[0] ?? [])]
    const wanted = scoreOf(tiny, tokens, 1)
    for (const at of [1, 2, 40, 61]) {
      const [score] = await withModel(tiny, (model) =>
        model.score({ prefix: tokens.slice(0, at), continuations: [tokens.slice(at)] })
      )
      expect(largestDifference(score?.loss, wanted.loss.slice(at - 1))).toBeLessThan(1e-4)
    }
  })

  it.each([
    ["an empty prefix", { prefix: [] }, /prefix is empty/],
    ["an id outside the vocabulary", { prefix: [1, vocabulary] }, /prefix: token 1 has the id 37/],
    ["a negative id", { prefix: [1], continuations: [[-1]] }, /continuation 0: token 0 has the id -1/],
    ["an id that is no whole number", { prefix: [0.5] }, /id 0\.5/],
    ["more tokens than positions", { prefix: randomTokens(1020, vocabulary) }, /1024 positions|1032 tokens/],
    [
      "a plan for another model",
      { plan: randomPlan(makeTiny({ config: { num_hidden_layers: 2 } }).config, "kv-head") },
      /2 layers; this one has 3/
    ]
  ])("refuses %s", async (_, wrong, message) => {
    const error = await withModel(tiny, (model) =>
      Effect.flip(model.score({ prefix, continuations, ...wrong }))
    )
    expect(error).toMatchObject({ _tag: "RuntimeError", reason: "InvalidRequest" })
    expect(error.message).toMatch(message)
  })
})

describe("influence requests", () => {
  const tokens = prefix.slice(0, 8)
  const request = {
    tokens,
    mask: tokens.map((_, i) => i > 3),
    objective: "cross-entropy",
    block: 4,
    sum: "signed"
  } as const

  it.each([
    ["a mask that counts nothing", { mask: tokens.map(() => false) }],
    ["a mask that counts only the first token", { mask: tokens.map((_, i) => i === 0) }],
    ["a mask of another length", { mask: [true] }],
    ["no tokens", { tokens: [], mask: [] }],
    ["a block of nothing", { block: 0 }],
    ["an id outside the vocabulary", { tokens: tokens.map(() => vocabulary) }]
  ])("are refused with %s", async (_, wrong) => {
    const error = await withModel(tiny, (model) => Effect.flip(model.influence({ ...request, ...wrong })))
    expect(error).toMatchObject({ _tag: "RuntimeError", reason: "InvalidRequest" })
  })
})

describe("loading", () => {
  it("refuses truncated weights", async () => {
    const whole = tiny.files["model.safetensors"]
    if (!(whole instanceof Uint8Array)) throw new Error("the folder has weights")
    const error = await run(
      Effect.gen(function* () {
        const folder = yield* folderOf({ ...tiny.files, "model.safetensors": whole.subarray(0, -100) })
        return yield* Effect.flip(loadFolder(folder))
      })
    )
    expect(error).toMatchObject({ _tag: "ModelError", reason: "InvalidWeights" })
  })

  it("shares a model that is loaded twice", async () => {
    const same = await run(
      Effect.gen(function* () {
        const folder = yield* folderOf(tiny.files)
        return (yield* loadFolder(folder)) === (yield* loadFolder(folder))
      })
    )
    expect(same).toBe(true)
  })

  it("names the device and its threads in the fingerprint", async () => {
    const { facts, device } = await run(Effect.flatMap(ModelRuntime, (runtime) => runtime.fingerprint))
    expect(facts).toMatchObject({ runtime: "runtime-cpu", onnxruntime: expect.stringMatching(/^\d+\.\d+/) })
    expect(device).toMatchObject({ cpu: expect.stringMatching(/\S/), threads: "1" })
  })
})
