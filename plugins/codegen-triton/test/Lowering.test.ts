import { blocks, cachedTokens, type Geometry, keeps, ruleOfQueryHead } from "@tessera/attention"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  decodeRanges,
  decodeWork,
  layerWindows,
  prefillSegments,
  prefillShare,
  prefillWork,
  type Range
} from "../src/index.js"
import { geometry, odd, small } from "./plans.js"

const tile = fc.constantFrom(16, 32, 64, 128)

const setting = fc
  .record({
    geometry,
    window: fc.integer({ min: 1, max: 12 }),
    first: fc.nat({ max: 700 }),
    rows: fc.integer({ min: 1, max: 128 }),
    tile
  })
  .map((s) => ({ ...s, last: s.first + s.rows - 1 }))

/** How often each key is visited. */
const visits = (ranges: ReadonlyArray<Range>, keys: number): ReadonlyArray<number> => {
  const counts = Array.from({ length: keys }, () => 0)
  for (const { start, end } of ranges) for (let k = start; k < end; k++) counts[k] = (counts[k] ?? 0) + 1
  return counts
}

/** 1 for every key that one of the queries keeps. */
const kept = (
  geometry: Geometry,
  windows: ReadonlyArray<number>,
  first: number,
  last: number,
  keys: number
) =>
  Array.from({ length: keys }, (_, k) => {
    for (let q = first; q <= last; q++) if (windows.some((window) => keeps(geometry, window, q, k))) return 1
    return 0
  })

describe("prefillSegments", () => {
  it("visits every key that a query of the tile keeps once, and no other", () =>
    fc.assert(
      fc.property(setting, ({ geometry, window, first, last, tile }) => {
        const segments = prefillSegments(geometry, window, first, last, tile)
        expect(visits(segments, last + 40)).toEqual(kept(geometry, [window], first, last, last + 40))
      }),
      { seed: 1, numRuns: 300 }
    ))

  it("marks a segment unmasked only where every query keeps every key of whole tiles", () =>
    fc.assert(
      fc.property(setting, ({ geometry, window, first, last, tile }) => {
        for (const { start, end, masked } of prefillSegments(geometry, window, first, last, tile)) {
          if (masked) continue
          expect((end - start) % tile).toBe(0)
          for (let q = first; q <= last; q++)
            for (let k = start; k < end; k++)
              if (!keeps(geometry, window, q, k)) expect.unreachable(`query ${q} does not keep key ${k}`)
        }
      }),
      { seed: 2, numRuns: 300 }
    ))

  it("leaves at most the edges masked: two tiles more than window blocks and query rows can make partial", () =>
    fc.assert(
      fc.property(setting, ({ geometry, window, first, last, tile }) => {
        const masked = prefillSegments(geometry, window, first, last, tile)
          .filter((segment) => segment.masked)
          .reduce((sum, { start, end }) => sum + end - start, 0)
        // The sink's remainder, the leading edge, the diagonal.
        expect(masked).toBeLessThanOrEqual(3 * tile + 2 * (last - first + geometry.block) + geometry.sink)
      }),
      { seed: 3, numRuns: 300 }
    ))
})

describe("prefillWork", () => {
  it("has every pair of query and head in one item, late rows first", () => {
    const length = 100
    const work = prefillWork(small, 0, length, 32, 16)
    const seen = work.flatMap(({ head, first, last }) =>
      Array.from({ length: last - first + 1 }, (_, i) => `${head}:${first + i}`)
    )
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen.length).toBe(length * small.model.queryHeads)
    const firsts = work.map(({ first }) => first)
    expect(firsts).toEqual([...firsts].sort((a, b) => b - a))
  })
})

describe("decode", () => {
  const windows = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 })

  it("reads the union of what the group's query heads keep, each key once", () =>
    fc.assert(
      fc.property(geometry, windows, fc.integer({ min: 1, max: 700 }), (geometry, windows, length) => {
        const ranges = decodeRanges(geometry, windows, length)
        expect(visits(ranges, length + 5)).toEqual(
          kept(geometry, windows, length - 1, length - 1, length + 5)
        )
      }),
      { seed: 4, numRuns: 300 }
    ))

  it("reads no more than a KV head caches", () =>
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), fc.constantFrom(small, odd), (length, plan) => {
        const group = plan.model.queryHeads / plan.model.kvHeads
        const windows = layerWindows(plan, 0, length)
        for (let head = 0; head < windows.length; head += group) {
          const read = decodeRanges(plan.geometry, windows.slice(head, head + group), length)
          const tokens = Array.from({ length: group }, (_, i) =>
            cachedTokens(ruleOfQueryHead(plan, 0, head + i), plan.geometry, length)
          )
          expect(read.reduce((sum, { start, end }) => sum + end - start, 0)).toBeLessThanOrEqual(
            Math.max(...tokens)
          )
        }
      }),
      { seed: 5 }
    ))

  it("splits each KV head into numbered items of at most a chunk", () =>
    fc.assert(
      fc.property(
        geometry,
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 4, maxLength: 4 }),
        fc.integer({ min: 1, max: 700 }),
        fc.integer({ min: 16, max: 256 }),
        (geometry, windows, length, chunk) => {
          const work = decodeWork(geometry, windows, 2, length, chunk)
          for (const kvHead of [0, 1]) {
            const own = work.filter((item) => item.kvHead === kvHead)
            const kept = decodeRanges(geometry, windows.slice(2 * kvHead, 2 * kvHead + 2), length).reduce(
              (sum, { start, end }) => sum + end - start,
              0
            )
            expect(own.map(({ split }) => split)).toEqual(Array.from({ length: own.length }, (_, i) => i))
            expect(own.every(({ splits }) => splits === own.length)).toBe(true)
            expect(own.length * chunk).toBeGreaterThanOrEqual(kept)
            expect((own.length - 1) * chunk).toBeLessThan(kept)
          }
        }
      ),
      { seed: 6 }
    ))
})

describe("prefillShare", () => {
  it("is 1 for a dense plan and shrinks with the window", () => {
    const uniform = (alpha: number, beta: number) => ({
      ...odd,
      rules: [
        [
          { alpha, beta },
          { alpha, beta }
        ]
      ]
    })
    expect(prefillShare(uniform(0, 1), 1000, 64, 64)).toBe(1)
    const half = prefillShare(uniform(0, 0.5), 2400, 16, 16)
    // A band of half the length covers 3/4 of the triangle.
    expect(half).toBeGreaterThan(0.74)
    expect(half).toBeLessThan(0.78)
    expect(prefillShare(uniform(0, 0.1), 2400, 16, 16)).toBeLessThan(0.22)
    expect(layerWindows(uniform(0, 1), 0, 1000)[0]).toBe(blocks(odd.geometry, 1000))
  })
})
