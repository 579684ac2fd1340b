import { Schema } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  blocks,
  cachedTokens,
  dense,
  Geometry,
  keeps,
  sinkBlocks,
  spanBlocks,
  windowBlocks
} from "../src/index.js"
import { geometry, length, rule } from "./arbitrary.js"

const holds = <T extends Array<unknown>>(property: fc.IProperty<T>) =>
  fc.assert(property, { numRuns: 500, seed: 7 })

const kept = (g: Geometry, window: number, q: number): number =>
  Array.from({ length: q + 1 }, (_, k) => k).filter((k) => keeps(g, window, q, k)).length

describe("the span", () => {
  it("has at least the sink and the smallest window, where the length has them, and never more than the length", () =>
    holds(
      fc.property(rule, geometry, length, (r, g, n) => {
        const span = spanBlocks(r, g, n)
        expect(Number.isInteger(span)).toBe(true)
        expect(span).toBeGreaterThanOrEqual(Math.min(sinkBlocks(g) + g.minWindow, blocks(g, n)))
        expect(span).toBeLessThanOrEqual(blocks(g, n))
        expect(cachedTokens(r, g, n)).toBeLessThanOrEqual(n)
      })
    ))

  it("never shrinks from one whole-block length to a longer one when beta is not negative", () =>
    holds(
      fc.property(
        rule,
        geometry,
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 0, max: 60 }),
        (r, g, a, more) => {
          expect(spanBlocks(r, g, (a + more) * g.block)).toBeGreaterThanOrEqual(spanBlocks(r, g, a * g.block))
        }
      )
    ))

  it("shrinks by no more than the partial last block between any two lengths", () =>
    holds(
      fc.property(rule, geometry, length, fc.integer({ min: 0, max: 200 }), (r, g, n, more) => {
        expect(spanBlocks(r, g, n + more)).toBeGreaterThanOrEqual(spanBlocks(r, g, n) - 1)
      })
    ))

  it("is alpha + beta N rounded down to blocks where neither bound binds", () => {
    const g = { block: 64, sink: 64, minWindow: 1 }
    expect(spanBlocks({ alpha: 0, beta: 0.5 }, g, 1000)).toBe(7)
    expect(spanBlocks({ alpha: -64, beta: 0.5 }, g, 1024)).toBe(7)
    expect(cachedTokens({ alpha: 1024, beta: 0.125 }, g, 8192)).toBe(2048)
    expect(cachedTokens({ alpha: 0, beta: 0 }, g, 8192)).toBe(128)
  })

  it("grows with the square root or the logarithm of N where the rule says so, and stops at its cap", () => {
    const g = { block: 64, sink: 64, minWindow: 1 }
    expect(cachedTokens({ alpha: 0, beta: 16, growth: "sqrt" }, g, 4096)).toBe(1024)
    expect(cachedTokens({ alpha: 64, beta: 64, growth: "log2" }, g, 8192)).toBe(896)
    expect(cachedTokens({ alpha: 0, beta: 0.5, cap: 2048 }, g, 2048)).toBe(1024)
    expect(cachedTokens({ alpha: 0, beta: 0.5, cap: 2048 }, g, 65536)).toBe(2048)
    expect(cachedTokens({ alpha: 0, beta: 1, cap: 2048 }, g, 1999)).toBe(1999)
  })
})

describe("the window", () => {
  it("is the span without the sink, and at least the diagonal block", () =>
    holds(
      fc.property(rule, geometry, length, (r, g, n) => {
        const window = windowBlocks(r, g, n)
        expect(window).toBe(Math.max(1, spanBlocks(r, g, n) - sinkBlocks(g)))
      })
    ))

  it("holds, at a block's last query, exactly as many keys outside the sink as its blocks have", () =>
    holds(
      fc.property(
        geometry,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 12 }),
        (g, window, block) => {
          const q = (block + 1) * g.block - 1
          const outside = Math.max(block + 1 - sinkBlocks(g), 0)
          expect(kept(g, window, q)).toBe(Math.min(g.sink, q + 1) + Math.min(window, outside) * g.block)
        }
      )
    ))

  it("lets no query keep more keys than a head caches", () =>
    holds(
      fc.property(rule, geometry, fc.integer({ min: 1, max: 400 }), fc.nat(), (r, g, n, at) => {
        expect(kept(g, windowBlocks(r, g, n), at % n)).toBeLessThanOrEqual(cachedTokens(r, g, n))
      })
    ))

  it("keeps every causal key under the dense rule, whatever the length", () =>
    holds(
      fc.property(geometry, fc.integer({ min: 1, max: 400 }), fc.nat(), (g, n, at) => {
        expect(cachedTokens(dense, g, n)).toBe(n)
        expect(kept(g, windowBlocks(dense, g, n), at % n)).toBe((at % n) + 1)
      })
    ))

  it("always lets a query see itself, and never the future", () =>
    holds(
      fc.property(rule, geometry, length, fc.nat(), (r, g, n, at) => {
        const window = windowBlocks(r, g, n)
        const q = at % n
        expect(keeps(g, window, q, q)).toBe(true)
        expect(keeps(g, window, q, q + 1)).toBe(false)
      })
    ))
})

describe("the geometry's schema", () => {
  const decode = Schema.decodeUnknownEither(Geometry)
  it("accepts a sink of whole blocks, none included", () => {
    expect(decode({ block: 16, sink: 32, minWindow: 2 })._tag).toBe("Right")
    expect(decode({ block: 16, sink: 0, minWindow: 1 })._tag).toBe("Right")
  })
  it.each([
    { block: 16, sink: 20, minWindow: 2 },
    { block: 0, sink: 0, minWindow: 1 },
    { block: 16, sink: -16, minWindow: 1 },
    { block: 16, sink: 16, minWindow: 0 },
    { block: 1.5, sink: 3, minWindow: 1 }
  ])("refuses %o", (value) => {
    expect(decode(value)._tag).toBe("Left")
  })
})
