import { existsSync, readFileSync } from "node:fs"
import { Either } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  density,
  foldToKvHeads,
  fromOfficial,
  headDensity,
  type Plan,
  prefillShare,
  toOfficial
} from "../../src/index.js"
import { linearPlan, linearRule, planOf } from "../arbitrary.js"

const context = (p: Plan) => ({ name: p.name, model: p.model, geometry: p.geometry, length: p.length })

describe("the official form", () => {
  it("gives a query-head plan back unchanged", () =>
    fc.assert(
      fc.property(planOf("query-head", linearRule), (p) => {
        const written = JSON.parse(JSON.stringify(Either.getOrThrow(toOfficial(p))))
        const back = Either.getOrThrow(fromOfficial(written, context(p)))
        expect({ ...back, provenance: {} }).toEqual(p)
      }),
      { seed: 7 }
    ))

  it("spells a KV head's rule out for each of its query heads", () =>
    fc.assert(
      fc.property(linearPlan, fc.constantFrom(64, 500, 1024), (p, n) => {
        const back = Either.getOrThrow(fromOfficial(Either.getOrThrow(toOfficial(p)), context(p)))
        expect(headDensity(back, n)).toBeCloseTo(headDensity(p, n), 12)
      }),
      { seed: 7 }
    ))

  it.each([
    { alpha: 0, beta: 0.5, cap: 64 },
    { alpha: 0, beta: 8, growth: "sqrt" as const }
  ])("cannot say %o", (rule) => {
    const written = toOfficial({
      format: 1,
      ...options,
      grouping: "kv-head",
      rules: [[{ alpha: 64, beta: 0 }, rule]],
      length: "prompt",
      provenance: {}
    })
    expect(Either.getOrThrow(Either.flip(written))).toMatchObject({
      reason: "NotExpressible",
      message: expect.stringContaining("layer 0 has a rule with a cap or another growth than linear")
    })
  })

  const model = { architecture: "LlamaForCausalLM", layers: 1, queryHeads: 2, kvHeads: 2, headDim: 8 }
  const options = { name: "x", model, geometry: { block: 64, sink: 64, minWindow: 1 } }

  it.each([
    ["not JSON objects", [1, 2]],
    ["texts for numbers", { alphas: [["1", 2]], betas: [[0, 0]] }],
    ["a missing half", { alphas: [[1, 2]] }],
    ["nulls, which is how JSON writes NaN", { alphas: [[null, 2]], betas: [[0, 0]] }]
  ])("is refused as malformed with %s", (_, json) => {
    expect(Either.flip(fromOfficial(json, options)).pipe(Either.getOrThrow).reason).toBe("Malformed")
  })

  it("is refused with a window that shrinks, saying which", () => {
    const error = Either.flip(fromOfficial({ alphas: [[4096, 0]], betas: [[0, -0.1]] }, options)).pipe(
      Either.getOrThrow
    )
    expect(error.reason).toBe("BadValue")
    expect(error.message).toContain("betas[0][1] is -0.1")
  })

  it.each([
    [
      "layers",
      {
        alphas: [
          [1, 2],
          [1, 2]
        ],
        betas: [[0, 0]]
      },
      "alphas hold 2 layers of 2 heads, the model has 1 layers of 2 query heads"
    ],
    ["heads", { alphas: [[1, 2]], betas: [[0]] }, "betas hold 1 layers of 1 heads"]
  ])("is refused for a model with other %s", (_, json, message) => {
    const error = Either.flip(fromOfficial(json, options)).pipe(Either.getOrThrow)
    expect(error.reason).toBe("WrongShape")
    expect(error.message).toContain(message)
  })
})

const released = new URL("../../../../../shared/data/moa-plans/", import.meta.url)

// The figures were computed from the same files with a script of its own, from the official formulas.
const figures = [
  {
    folder: "gradientai--Llama-3-8B-Instruct-262k",
    kvHeads: 8,
    optimizer: { moa: [0.486, 0.5, 0.5, 0.499, 0.498], streamingllm: [0.531, 0.516, 0.508, 0.505, 0.504] },
    runtime: { moa: [0.484, 0.492, 0.495], streamingllm: [0.5, 0.5, 0.5] },
    prefill: { moa: [0.671, 0.63, 0.6], streamingllm: [0.762, 0.756, 0.753] },
    folded: { moa: 0.655, streamingllm: 0.5 }
  },
  {
    folder: "lmsys--vicuna-7b-v1.5-16k",
    kvHeads: 32,
    optimizer: { moa: [0.5, 0.5, 0.5, 0.5, 0.5], streamingllm: [0.531, 0.516, 0.508, 0.505, 0.504] },
    runtime: { moa: [0.484, 0.492, 0.496], streamingllm: [0.5, 0.5, 0.5] },
    prefill: { moa: [0.67, 0.665, 0.661], streamingllm: [0.762, 0.756, 0.753] },
    folded: { moa: 0.492, streamingllm: 0.5 }
  }
]

// Skipped where the released plans are not beside the checkout (../shared/data/moa-plans).
describe.skipIf(!existsSync(released))("the released plans", () => {
  const cases = figures.flatMap((figure) =>
    (["moa", "streamingllm"] as const).map((plan) => [figure.folder, plan, figure] as const)
  )

  it.each(cases)("%s/%s has the published densities under both definitions", (folder, kind, figure) => {
    const json: unknown = JSON.parse(
      readFileSync(new URL(`${folder}/${kind}_alpha_beta.json`, released), "utf8")
    )
    const model = {
      architecture: "LlamaForCausalLM",
      layers: 32,
      queryHeads: 32,
      kvHeads: figure.kvHeads,
      headDim: 128
    }
    const plan = Either.getOrThrow(
      fromOfficial(json, { name: kind, model, geometry: { block: 64, sink: 64, minWindow: 1 } })
    )
    const k = (n: number) => n * 1024
    const round = (x: number) => Math.round(x * 1000) / 1000
    expect([2, 4, 8, 12, 16].map((n) => round(headDensity(plan, k(n), "on-top")))).toEqual(
      figure.optimizer[kind]
    )
    expect([4, 8, 16].map((n) => round(prefillShare(plan, k(n), "on-top")))).toEqual(figure.prefill[kind])
    // Ours, with the sink inside the span, is the official runtime's cache per head.
    expect([4, 8, 16].map((n) => round(headDensity(plan, k(n))))).toEqual(figure.runtime[kind])
    expect(toOfficial(plan)).toEqual(Either.right(json))
    // A KV group caches what the longest of its heads needs, folded or not.
    expect(round(density(plan, k(8)))).toBe(figure.folded[kind])
    expect(density(foldToKvHeads(plan, [k(8)]), k(8))).toBe(density(plan, k(8)))
  })
})
