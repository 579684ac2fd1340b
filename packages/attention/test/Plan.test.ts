import { Schema } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  AttentionShape,
  cachedTokens,
  cachedTokensPerKvHead,
  dense,
  density,
  headDensity,
  kvBytes,
  Plan,
  ruleOfQueryHead
} from "../src/index.js"
import { length, plan, planOf } from "./arbitrary.js"

const model = { architecture: "LlamaForCausalLM", layers: 2, queryHeads: 4, kvHeads: 2, headDim: 8 }
const geometry = { block: 16, sink: 16, minWindow: 1 }
const short = { alpha: 32, beta: 0 }
const long = { alpha: 0, beta: 0.5 }

const base = {
  format: 1 as const,
  name: "p",
  model,
  geometry,
  length: "prompt" as const,
  provenance: {}
}
const perKv: Plan = {
  ...base,
  grouping: "kv-head",
  rules: [
    [short, long],
    [dense, short]
  ]
}
const perQuery: Plan = {
  ...base,
  grouping: "query-head",
  rules: [
    [short, long, short, short],
    [dense, short, long, short]
  ]
}

describe("a plan's densities", () => {
  it("count cached tokens per KV head", () => {
    expect(cachedTokensPerKvHead(perKv, 128)).toEqual([
      [32, 64],
      [128, 32]
    ])
    expect(density(perKv, 128)).toBe(0.5)
    expect(headDensity(perKv, 128)).toBe(0.5)
  })

  it("fold query heads by the longest of their group", () => {
    expect(cachedTokensPerKvHead(perQuery, 128)).toEqual([
      [64, 32],
      [128, 64]
    ])
    expect(density(perQuery, 128)).toBe(288 / 512)
    expect(headDensity(perQuery, 128)).toBe((32 + 64 + 32 + 32 + 128 + 32 + 64 + 32) / 1024)
  })

  it("lie above zero and at most at one; folding never lowers them", () =>
    fc.assert(
      fc.property(plan, length, (p, n) => {
        expect(density(p, n)).toBeGreaterThan(0)
        expect(density(p, n)).toBeLessThanOrEqual(1)
        expect(density(p, n)).toBeGreaterThanOrEqual(headDensity(p, n) - 1e-12)
      }),
      { seed: 7 }
    ))

  it("count keys and values in bytes", () =>
    fc.assert(
      fc.property(plan, length, fc.constantFrom(1, 2, 4), (p, n, bytes) => {
        const denseBytes = p.model.layers * p.model.kvHeads * n * 2 * p.model.headDim * bytes
        expect(kvBytes(p, n, bytes)).toBeCloseTo(density(p, n) * denseBytes, 4)
      }),
      { seed: 7 }
    ))
})

describe("a query head's rule", () => {
  it("is that of its KV head in a KV-head plan", () =>
    fc.assert(
      fc.property(planOf("kv-head"), length, fc.nat(), (p, n, at) => {
        const head = at % p.model.queryHeads
        const kv = Math.floor((head * p.model.kvHeads) / p.model.queryHeads)
        expect(cachedTokens(ruleOfQueryHead(p, 0, head), p.geometry, n)).toBe(
          cachedTokensPerKvHead(p, n)[0]?.[kv]
        )
      }),
      { seed: 7 }
    ))

  it("is its own in a query-head plan", () => {
    expect(ruleOfQueryHead(perQuery, 1, 2)).toEqual(long)
  })

  it("does not exist outside the model", () => {
    expect(() => ruleOfQueryHead(perKv, 2, 0)).toThrow("plan p has no rule for layer 2, query head 0")
    expect(() => ruleOfQueryHead(perQuery, 0, 4)).toThrow(RangeError)
  })
})

describe("the schemas", () => {
  const decode = Schema.decodeUnknownEither(Plan)

  it("give back what they wrote", () =>
    fc.assert(
      fc.property(plan, (p) => {
        const text = JSON.stringify(Schema.encodeSync(Plan)(p))
        expect(decode(JSON.parse(text))).toEqual(decode(p))
        expect(decode(p)._tag).toBe("Right")
      }),
      { seed: 7 }
    ))

  it.each([
    ["a missing layer", { ...perKv, rules: perKv.rules.slice(1) }],
    ["a missing head", { ...perKv, rules: perKv.rules.map((layer) => layer.slice(1)) }],
    ["query-head rules in a KV-head plan", { ...perQuery, grouping: "kv-head" }],
    ["KV-head rules in a query-head plan", { ...perKv, grouping: "query-head" }],
    ["another format", { ...perKv, format: 2 }],
    [
      "an infinite rule",
      {
        ...perKv,
        rules: [
          [short, long],
          [{ alpha: Infinity, beta: 0 }, short]
        ]
      }
    ]
  ])("refuse %s", (_, value) => {
    expect(decode(value)._tag).toBe("Left")
  })

  it("say what the model needs", () => {
    const result = Schema.decodeUnknownEither(Plan)({ ...perKv, rules: [] })
    expect(String(result._tag === "Left" ? result.left : "")).toContain("needs 2 layers of 2 rules")
  })

  it("refuse query heads that cannot share the KV heads evenly", () => {
    expect(Schema.decodeUnknownEither(AttentionShape)({ ...model, queryHeads: 5 })._tag).toBe("Left")
    expect(Schema.decodeUnknownEither(AttentionShape)(model)._tag).toBe("Right")
  })
})

describe("a plan document", () => {
  const old = {
    format: 1,
    name: "moa-25",
    model: { architecture: "LlamaForCausalLM", layers: 1, queryHeads: 2, kvHeads: 1, headDim: 8 },
    geometry: { block: 16, sink: 32, minWindow: 4 },
    grouping: "kv-head",
    rules: [[{ alpha: 0, beta: 0.25 }]],
    length: "prompt+new",
    provenance: { method: "elastic" }
  }

  it("from before it told identity, lengths and growths is read and written as it was", () => {
    const plan = Schema.decodeUnknownSync(Plan)(old)
    expect(Schema.encodeSync(Plan)(plan)).toEqual(old)
  })

  it("tells which model it is for, and what it was expected to cost at the lengths it was made for", () => {
    const full = {
      ...old,
      model: { ...old.model, identity: { name: "demo", digest: "sha256:00" } },
      expected: [
        { length: 512, density: 0.25, loss: 0.5 },
        { length: 4096, density: 0.25 }
      ]
    }
    expect(Schema.encodeSync(Plan)(Schema.decodeUnknownSync(Plan)(full))).toEqual(full)
  })

  it.each([
    ["another format", { format: 2 }],
    ["a length of no token", { expected: [{ length: 0, density: 1 }] }],
    ["a loss that is no number", { expected: [{ length: 1, density: 1, loss: null }] }]
  ])("is refused with %s", (_, wrong) => {
    expect(Schema.decodeUnknownEither(Plan)({ ...old, ...wrong })._tag).toBe("Left")
  })
})
