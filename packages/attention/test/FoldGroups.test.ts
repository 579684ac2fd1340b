import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { dense, density, foldToKvHeads, type Plan, planWindows, sameRule } from "../src/index.js"
import { plan, planOf } from "./arbitrary.js"

const lengths = fc
  .array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 4 })
  .map(([first = 1, ...rest]) => [first, ...rest] as const)

const holds = <T extends Array<unknown>>(property: fc.IProperty<T>) =>
  fc.assert(property, { numRuns: 300, seed: 7 })

describe("query heads folded to KV heads", () => {
  it("keep at least what each kept, at the stated lengths", () =>
    holds(
      fc.property(planOf("query-head"), lengths, (p, at) => {
        const folded = foldToKvHeads(p, at)
        expect(folded.grouping).toBe("kv-head")
        for (const n of at) {
          const before = planWindows(p, n)
          planWindows(folded, n).forEach((row, layer) =>
            row.forEach((window, head) => expect(window).toBeGreaterThanOrEqual(before[layer]?.[head] ?? 0))
          )
        }
      })
    ))

  it("cache at one length exactly what the longest of each group needs", () =>
    holds(
      fc.property(planOf("query-head"), fc.integer({ min: 1, max: 3000 }), (p, n) => {
        expect(density(foldToKvHeads(p, [n]), n)).toBe(density(p, n))
      })
    ))

  it("have only rules of the plan, or the dense one", () =>
    holds(
      fc.property(planOf("query-head"), lengths, (p, at) => {
        const own = [...p.rules.flat(), dense]
        for (const rule of foldToKvHeads(p, at).rules.flat())
          expect(own.some((other) => sameRule(other, rule))).toBe(true)
      })
    ))

  it("leave a plan per KV head as it is", () =>
    holds(
      fc.property(plan, lengths, (p, at) => {
        const folded = foldToKvHeads(p, at)
        expect(foldToKvHeads(folded, at)).toEqual(folded)
      })
    ))

  const short = { alpha: 512, beta: 0 }
  const growing = { alpha: 0, beta: 0.25 }
  const crossing: Plan = {
    format: 1,
    name: "crossing",
    model: { architecture: "LlamaForCausalLM", layers: 1, queryHeads: 6, kvHeads: 3, headDim: 8 },
    geometry: { block: 64, sink: 64, minWindow: 1 },
    grouping: "query-head",
    rules: [[short, growing, growing, growing, short, { alpha: 256, beta: 0.25 }]],
    length: "prompt",
    expected: [{ length: 1024, density: 0.5, loss: 1 }],
    provenance: { source: "test" }
  }

  it("whose rules cross get the smallest rule that covers both, and the provenance says so", () => {
    const folded = foldToKvHeads(crossing, [1024, 4096])
    expect(folded.rules).toEqual([[{ alpha: 256, beta: 0.25 }, growing, { alpha: 256, beta: 0.25 }]])
    expect(folded.provenance).toMatchObject({
      source: "test",
      folded: expect.stringContaining("N = 1024, 4096"),
      "folded groups": expect.stringMatching(/^2 of 3 had different rules, 0 of them became dense/)
    })
    expect("expected" in folded).toBe(false)
  })

  it("become dense where no rule of the plan covers them", () => {
    const folded = foldToKvHeads(
      { ...crossing, rules: [[short, growing, growing, growing, short, short]] },
      [1024, 4096]
    )
    expect(folded.rules).toEqual([[dense, growing, short]])
    expect(folded.provenance["folded groups"]).toMatch(/^1 of 3 had different rules, 1 of them/)
  })
})
