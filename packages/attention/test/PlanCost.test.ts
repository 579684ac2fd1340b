import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  blocks,
  density,
  denseKvBytes,
  expandedKvBytes,
  headDensity,
  keeps,
  kvBytes,
  type Plan,
  planWindows,
  prefillShare
} from "../src/index.js"
import { length, plan, planOf } from "./arbitrary.js"

const holds = <T extends Array<unknown>>(property: fc.IProperty<T>) =>
  fc.assert(property, { numRuns: 200, seed: 7 })

/** Counted from the mask, block by block. */
const counted = (p: Plan, n: number): number => {
  const { block } = p.geometry
  const total = blocks(p.geometry, n)
  const at = Array.from({ length: total }, (_, i) => i * block)
  const kept = planWindows(p, n).flatMap((heads) =>
    heads.map((window) => at.flatMap((q) => at.filter((k) => keeps(p.geometry, window, q, k))).length)
  )
  return kept.reduce((a, b) => a + b, 0) / (kept.length * ((total * (total + 1)) / 2))
}

describe("the cost of prefill", () => {
  it("is the share of causal blocks that the mask keeps", () =>
    holds(
      fc.property(plan, fc.integer({ min: 1, max: 40 }), (p, n) => {
        expect(prefillShare(p, n * p.geometry.block)).toBeCloseTo(counted(p, n * p.geometry.block), 10)
      })
    ))
})

describe("the sink", () => {
  it("on top costs at least as much as inside, and at most the sink and the block of rounding more", () =>
    holds(
      fc.property(planOf("kv-head"), fc.integer({ min: 1, max: 60 }), (p, n) => {
        const { block, minWindow, sink } = p.geometry
        const tokens = n * block
        const more = headDensity(p, tokens, "on-top") - headDensity(p, tokens)
        // Where a window is widened to the smallest, it is inside that is longer.
        expect(more).toBeGreaterThanOrEqual(-Math.min(1, (minWindow * block) / tokens) - 1e-9)
        expect(more).toBeLessThanOrEqual(Math.min(1, (sink + block) / tokens) + 1e-9)
      })
    ))
})

describe("bytes", () => {
  it("of a KV-head plan are its density of the dense cache, and of one per query head as much per query head", () =>
    holds(
      fc.property(plan, length, (p, n) => {
        const dense = denseKvBytes(p.model, n, 2)
        const group = p.model.queryHeads / p.model.kvHeads
        expect(kvBytes(p, n, 2)).toBeCloseTo(density(p, n) * dense, 4)
        expect(expandedKvBytes(p, n, 2)).toBeCloseTo(headDensity(p, n) * dense * group, 4)
      })
    ))
})
