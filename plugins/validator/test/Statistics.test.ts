import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { depthBucket, meanMargin, measure, wilson } from "../src/index.js"

describe("the Wilson interval", () => {
  it.each([
    [10, 10, 0.7225, 1],
    [0, 10, 0, 0.2775],
    [8, 10, 0.4902, 0.9433],
    [50, 100, 0.4038, 0.5962]
  ])("of %i in %i is the published one", (successes, count, low, high) => {
    const [l, h] = wilson(successes, count)
    expect(l).toBeCloseTo(low, 4)
    expect(h).toBeCloseTo(high, 4)
  })

  it("holds the share, lies in [0, 1] and narrows as items are added", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (count, share) => {
          const successes = Math.round(share * count)
          const [low, high] = wilson(successes, count)
          const [low4, high4] = wilson(successes * 4, count * 4)
          expect(low).toBeLessThanOrEqual(successes / count + 1e-12)
          expect(high).toBeGreaterThanOrEqual(successes / count - 1e-12)
          expect(low).toBeGreaterThanOrEqual(0)
          expect(high).toBeLessThanOrEqual(1)
          expect(high4 - low4).toBeLessThan(high - low)
        }
      )
    )
  })

  it("of nothing says nothing", () => {
    expect(wilson(0, 0)).toEqual([0, 1])
  })
})

it("the margin of a mean is 1.96 standard errors", () => {
  expect(meanMargin([1, 2, 3, 4])).toBeCloseTo(1.96 * (Math.sqrt(5 / 3) / 2), 3)
  expect(meanMargin([7])).toBe(0)
})

it("depths fall into quintiles, both ends included", () => {
  expect([0, 0.19, 0.2, 0.999, 1].map(depthBucket)).toEqual([
    "0.0-0.2",
    "0.0-0.2",
    "0.2-0.4",
    "0.8-1.0",
    "0.8-1.0"
  ])
})

it("items are counted alike, and each one's loss is per token", () => {
  const item = (exact: boolean, loss: number, tokens: number) => ({
    plan: "p",
    task: "longeval",
    length: 512,
    item: "i",
    depth: 0.5,
    exact,
    loss,
    tokens,
    kv_bytes: 100,
    density: 0.5
  })
  expect(measure([item(true, 2, 4), item(false, 3, 2)], "all")).toMatchObject({
    items: 2,
    accuracy: 0.5,
    loss: 1,
    kv_bytes: 100
  })
})
