import type { InfluenceRequest } from "@tessera/runtime"
import { describe, expect, it } from "vitest"
import type { RuntimeCpu } from "../src/index.js"
import { at } from "./Matrix.js"
import { blockSums, influenceOf, lossOf } from "./Reference.js"
import { makeTiny, randomTokens, type Tiny, withModel } from "./TinyModel.js"

const requestFor = (
  tiny: Tiny,
  length: number,
  options: Partial<InfluenceRequest> = {}
): InfluenceRequest & { readonly tokens: ReadonlyArray<number> } => {
  const tokens = randomTokens(length, tiny.config.vocabulary)
  return {
    mask: tokens.map((_, i) => i > length * 0.6 && i % 3 !== 1),
    objective: "cross-entropy",
    block: 8,
    sum: "signed",
    ...options,
    tokens
  }
}

/**
 * The worst error of a block sum, relative to the sum of |E| of its block, as signed sums may cancel. Single entries (blocks of
 * 1) are differences that may cancel themselves: they are compared relative to the largest of their row.
 */
const compareWith = async (
  options: RuntimeCpu.Options,
  tiny: Tiny,
  request: ReturnType<typeof requestFor>
) => {
  const wanted = influenceOf(tiny, request)
  const got = await withModel(tiny, (model) => model.influence(request), options)
  const blocks = Math.ceil(request.tokens.length / request.block)
  expect(got.blocks).toBe(blocks)
  expect(Math.abs(got.loss - wanted.loss)).toBeLessThan(1e-5 * Math.abs(wanted.loss))
  expect(got.layers).toHaveLength(tiny.config.layers)
  let worst = 0
  wanted.layers.forEach((heads, layer) => {
    expect(got.layers[layer]).toHaveLength(heads.length * blocks * blocks)
    heads.forEach((e, head) => {
      const sums = blockSums(e, request.block, request.sum)
      const sizes = blockSums(e, request.block, "abs")
      // What float32 cannot tell from nothing beside the layer's largest blocks.
      const floor = 1e-6 * Math.max(...sizes)
      sums.forEach((sum, i) => {
        const found = got.layers[layer]?.[head * blocks * blocks + i] ?? Number.NaN
        const row = Math.floor(i / blocks) * blocks
        const size = request.block === 1 ? Math.max(...sizes.slice(row, row + blocks)) : (sizes[i] ?? 0)
        const error = Math.abs(found - sum) / (size + floor)
        worst = Number.isNaN(error) ? Number.NaN : Math.max(worst, error)
      })
    })
  })
  return { wanted, got, worst }
}

describe.each([
  ["of a short sequence, in one run", {}],
  ["of a long one, layer by layer", { scoreMemory: 0 }]
])("influence %s", (_, options) => {
  const compare = (tiny: Tiny, request: ReturnType<typeof requestFor>) => compareWith(options, tiny, request)

  it.each([
    [1, 4],
    [2, 2],
    [4, 1]
  ])("equals the float64 reference with %i query heads a KV head", async (_, kvHeads) => {
    const tiny = makeTiny({ config: { num_key_value_heads: kvHeads } })
    for (const objective of ["cross-entropy", "log-odds"] as const)
      for (const sum of ["signed", "abs"] as const)
        expect((await compare(tiny, requestFor(tiny, 40, { objective, sum }))).worst).toBeLessThan(1e-4)
  })

  it("equals it where the last block is partial, and whatever the block", async () => {
    const tiny = makeTiny()
    for (const block of [1, 7, 64])
      expect((await compare(tiny, requestFor(tiny, 45, { block }))).worst).toBeLessThan(1e-4)
  })

  it("equals it over several tiles of queries", async () => {
    const tiny = makeTiny({
      config: { num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1 }
    })
    expect((await compare(tiny, requestFor(tiny, 300, { block: 16 }))).worst).toBeLessThan(1e-4)
    expect((await compare(tiny, requestFor(tiny, 300, { block: 290 }))).worst).toBeLessThan(1e-4)
  })

  it("equals it with attention biases, untied and tied embeddings and scaled positions", async () => {
    const rope_scaling = {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32
    }
    for (const config of [
      { architectures: ["Qwen2ForCausalLM"], tie_word_embeddings: true },
      { attention_bias: true, rope_scaling }
    ]) {
      const tiny = makeTiny({ config })
      expect((await compare(tiny, requestFor(tiny, 40))).worst).toBeLessThan(1e-4)
    }
  })

  it("equals it where single keys take more than 99% of the attention", async () => {
    const tiny = makeTiny({ peak: 2.5 })
    for (const sum of ["signed", "abs"] as const) {
      const { wanted, worst } = await compare(tiny, requestFor(tiny, 40, { sum }))
      expect(worst).toBeLessThan(1e-4)
      const peaks = wanted.state.layers.flatMap(({ a }) =>
        a.flatMap((head) => [...head.data].filter((value, i) => i > 0 && value > 0.99))
      )
      expect(peaks.length).toBeGreaterThan(20)
    }
  })

  it("stays within 1e-3 of the head's largest where next to nothing is left for other keys", async () => {
    const tiny = makeTiny({ peak: 5 })
    const request = requestFor(tiny, 40, { block: 1 })
    const wanted = influenceOf(tiny, request)
    const got = await withModel(tiny, (model) => model.influence(request), options)
    wanted.layers.forEach((heads, layer) =>
      heads.forEach((e, head) => {
        const largest = e.data.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
        e.data.forEach((value, i) => {
          const found = got.layers[layer]?.[head * e.data.length + i] ?? Number.NaN
          expect(Math.abs(found - value)).toBeLessThan(1e-3 * largest)
        })
      })
    )
  })

  it("is zero for the first token's only key and above the diagonal", async () => {
    const tiny = makeTiny()
    const { got, worst } = await compare(tiny, requestFor(tiny, 20, { block: 1 }))
    expect(worst).toBeLessThan(1e-4)
    for (const layer of got.layers)
      for (let head = 0; head < 4; head++)
        for (let i = 0; i < 20; i++)
          for (let j = i === 0 ? 0 : i + 1; j < 20; j++)
            expect(layer[(head * 20 + i) * 20 + j]).toBeCloseTo(0, 12)
  })
})

describe("the float64 reference", () => {
  it("is what one attention row costs when a key begins to drop out, by finite differences", () => {
    const tiny = makeTiny()
    for (const objective of ["cross-entropy", "log-odds"] as const) {
      const request = requestFor(tiny, 24, { objective })
      const { layers } = influenceOf(tiny, request)
      for (const [layer, head, query, key] of [
        [0, 0, 23, 0],
        [0, 3, 10, 10],
        [1, 1, 15, 3],
        [2, 2, 20, 11],
        [1, 2, 0, 0]
      ] as const) {
        const e = layers[layer]?.[head]
        if (e === undefined) throw new Error("no such head")
        if (query === 0) {
          expect(at(e, 0, 0)).toBe(0)
          continue
        }
        const step = 1e-5
        const loss = (t: number) => lossOf(tiny, request, { perturbation: { layer, head, query, key, t } })
        const slope = (loss(step) - loss(-step)) / (2 * step)
        expect(Math.abs(slope - at(e, query, key))).toBeLessThan(1e-6 * Math.abs(slope) + 1e-10)
      }
    }
  })
})
