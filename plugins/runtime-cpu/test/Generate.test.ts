import type { GenerateRequest } from "@tessera/runtime"
import { Chunk, Effect, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { row } from "./Matrix.js"
import { argmax, type ForwardOptions, forward } from "./Reference.js"
import { groupings, makeTiny, randomPlan, randomTokens, withModel } from "./TinyModel.js"

const tiny = makeTiny({ config: { eos_token_id: 36 } })
const prompt = randomTokens(30, tiny.config.vocabulary, 5)

const generate = (...requests: ReadonlyArray<GenerateRequest>) =>
  withModel(tiny, (model) =>
    model.generate(requests).pipe(Stream.runCollect, Effect.map(Chunk.toReadonlyArray))
  )

const NEW = 16

/** Greedy decoding by the whole forward pass over again for every token. */
const greedy = (prompt: ReadonlyArray<number>, count: number, options: ForwardOptions = {}) => {
  const tokens = [...prompt]
  for (let i = 0; i < count; i++) {
    const { logits } = forward(tiny, tokens, options)
    tokens.push(argmax(row(logits, tokens.length - 1)))
  }
  return tokens.slice(prompt.length)
}

const dense = greedy(prompt, NEW)

describe("generate", () => {
  it("takes the largest logit of the whole forward pass each time", async () => {
    const [long, one] = await generate(
      { prompt, maxNewTokens: NEW, stop: [] },
      { prompt: prompt.slice(0, 1), maxNewTokens: 12, stop: [] }
    )
    expect(long).toEqual({ tokens: dense, ended: "length" })
    expect(one).toEqual({ tokens: greedy(prompt.slice(0, 1), 12), ended: "length" })
  })

  it.each(groupings)("under a plan by %s equals the masked forward pass", async (grouping) => {
    let different = 0
    for (const seed of [21, 22])
      for (const length of ["prompt", "prompt+new"] as const) {
        const plan = { ...randomPlan(tiny.config, grouping, seed), length }
        const planned = length === "prompt" ? prompt.length : prompt.length + NEW
        const [result] = await generate({ prompt, maxNewTokens: NEW, stop: [], plan })
        expect(result?.tokens).toEqual(greedy(prompt, NEW, { plan, length: planned }))
        if (result?.tokens.join() !== dense.join()) different++
      }
    expect(different).toBeGreaterThan(0)
  })

  it.each(["dense", ...groupings] as const)(
    "goes on as scoring predicts for hundreds of tokens: %s",
    async (kind) => {
      // The windows leave most keys behind, so the cache drops rows on the way.
      const plan = kind === "dense" ? {} : { plan: randomPlan(tiny.config, kind, 4) }
      const maxNewTokens = 300
      const [generated, score] = await withModel(tiny, (model) =>
        Effect.gen(function* () {
          const request = { prompt, maxNewTokens, stop: [], ...plan }
          const [generated] = yield* Stream.runCollect(model.generate([request]))
          const continuations = [generated?.tokens ?? []]
          const [score] = yield* model.score({ prefix: prompt, continuations, ...plan })
          return [generated, score] as const
        })
      )
      expect(generated?.tokens).toHaveLength(maxNewTokens)
      expect([...(score?.predicted ?? [])]).toEqual(generated?.tokens)
    }
  )

  it("ends with the first stop id, which is part of the result", async () => {
    const stop = dense[5] ?? -1
    const [result] = await generate({ prompt, maxNewTokens: NEW, stop: [stop] })
    expect(result).toEqual({ tokens: dense.slice(0, dense.indexOf(stop) + 1), ended: "stop" })
  })

  it("stops at the model's end-of-text id where no other is given", async () => {
    const ends = makeTiny({ config: { eos_token_id: dense[0] } })
    const results = await withModel(ends, (model) =>
      Stream.runCollect(model.generate([{ prompt, maxNewTokens: 5 }]))
    )
    expect(Chunk.toReadonlyArray(results)).toEqual([{ tokens: dense.slice(0, 1), ended: "stop" }])
  })

  it("samples the same tokens from the same seed, and others from another", async () => {
    const sampled = (seed: number): GenerateRequest => ({
      prompt,
      maxNewTokens: NEW,
      stop: [],
      sampling: { temperature: 1.5, seed }
    })
    const [first, again, other] = await generate(sampled(1), sampled(1), sampled(2))
    expect(again).toEqual(first)
    expect(other).not.toEqual(first)
  })

  it("samples the largest logit alone from a tiny nucleus or at a low temperature", async () => {
    const results = await generate(
      { prompt, maxNewTokens: NEW, stop: [], sampling: { temperature: 1, topP: 1e-9, seed: 1 } },
      { prompt, maxNewTokens: NEW, stop: [], sampling: { temperature: 1e-4, seed: 1 } }
    )
    for (const { tokens } of results) expect(tokens).toEqual(dense)
  })

  it.each<readonly [string, Partial<GenerateRequest>]>([
    ["an empty prompt", { prompt: [] }],
    ["an id outside the vocabulary", { prompt: [37] }],
    ["more tokens than positions", { maxNewTokens: 1000 }],
    ["no new tokens", { maxNewTokens: 0 }],
    ["a temperature of zero", { sampling: { temperature: 0, seed: 1 } }],
    ["an empty nucleus", { sampling: { temperature: 1, topP: 0, seed: 1 } }],
    [
      "a plan for another model",
      { plan: randomPlan(makeTiny({ config: { num_key_value_heads: 4 } }).config, "kv-head") }
    ]
  ])("refuses %s", async (_, wrong) => {
    const request = { prompt, maxNewTokens: 10, ...wrong }
    const error = await withModel(tiny, (model) => Effect.flip(Stream.runDrain(model.generate([request]))))
    expect(error).toMatchObject({ _tag: "RuntimeError", reason: "InvalidRequest" })
  })
})
