import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  blockRow,
  blocks,
  cachedTokens,
  decodeRanges,
  decodeWork,
  type Geometry,
  headOrder,
  keeps,
  type KeyRange,
  layerWindows,
  type Plan,
  prefillSegments,
  tileShare,
  prefillWork,
  ruleOfQueryHead
} from "../src/index.js"
import { plan } from "./arbitrary.js"

const geometry: fc.Arbitrary<Geometry> = fc
  .tuple(fc.constantFrom(1, 7, 16, 32, 48, 64, 128), fc.nat({ max: 3 }), fc.integer({ min: 1, max: 3 }))
  .map(([block, sinks, minWindow]) => ({ block, sink: block * sinks, minWindow }))

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
const visits = (ranges: ReadonlyArray<KeyRange>, keys: number): ReadonlyArray<number> => {
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

describe("prefillSegments beside a cache", () => {
  const split = fc.tuple(setting, fc.nat({ max: 1000 })).map(([s, n]) => ({ ...s, past: n % (s.first + 1) }))

  it("visits the cached keys and the new ones so that together each kept key is visited once", () =>
    fc.assert(
      fc.property(split, ({ geometry, window, first, last, tile, past }) => {
        const cached = prefillSegments(geometry, window, first, last, tile, { start: 0, end: past })
        const added = prefillSegments(geometry, window, first, last, tile, { start: past, end: last + 1 })
        expect(cached.every(({ end }) => end <= past)).toBe(true)
        expect(added.every(({ start }) => start >= past)).toBe(true)
        expect(visits([...cached, ...added], last + 40)).toEqual(
          kept(geometry, [window], first, last, last + 40)
        )
        for (const { start, end, masked } of [...cached, ...added]) {
          if (masked) continue
          expect((end - start) % tile).toBe(0)
          for (let q = first; q <= last; q++)
            for (let k = start; k < end; k++)
              if (!keeps(geometry, window, q, k)) expect.unreachable(`query ${q} does not keep key ${k}`)
        }
      }),
      { seed: 7, numRuns: 300 }
    ))
})

describe("blockRow", () => {
  it("has each aligned tile with a kept pair once, as full only where every pair is kept", () =>
    fc.assert(
      fc.property(setting, ({ geometry, window, first, last, tile }) => {
        const { partial, full } = blockRow(geometry, window, first, last, tile)
        const tiles = Math.ceil((last + 40) / tile)
        const kinds = Array.from({ length: tiles }, (_, t) => {
          let some = false
          let all = true
          for (let q = first; q <= last; q++)
            for (let k = t * tile; k < (t + 1) * tile; k++) {
              const keep = keeps(geometry, window, q, k)
              some ||= keep
              all &&= keep
            }
          return all ? "full" : some ? "partial" : "none"
        })
        expect(partial).toEqual([...kinds.keys()].filter((t) => kinds[t] === "partial"))
        expect(full).toEqual([...kinds.keys()].filter((t) => kinds[t] === "full"))
      }),
      { seed: 8, numRuns: 300 }
    ))
})

describe("headOrder", () => {
  it("is a permutation that keeps KV groups together, those of long windows first", () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
        (group, kvHeads, stream) => {
          const windows = [...stream.take(group * kvHeads)]
          const order = headOrder(windows, group)
          expect(order.toSorted((a, b) => a - b)).toEqual([...windows.keys()])
          const totals = Array.from({ length: kvHeads }, (_, at) => {
            const heads = order.slice(at * group, (at + 1) * group)
            expect(new Set(heads.map((head) => Math.floor(head / group))).size).toBe(1)
            return heads.reduce((sum, head) => sum + (windows[head] ?? 0), 0)
          })
          expect(totals).toEqual(totals.toSorted((a, b) => b - a))
        }
      ),
      { seed: 9 }
    ))
})

describe("prefillWork", () => {
  it("has every pair of query and head in one item, late rows of a KV group first", () =>
    fc.assert(
      fc.property(plan, fc.integer({ min: 1, max: 200 }), (plan, length) => {
        const work = prefillWork(plan, 0, length, 32, 16)
        const seen = work.flatMap(({ head, first, last }) =>
          Array.from({ length: last - first + 1 }, (_, i) => `${head}:${first + i}`)
        )
        expect(new Set(seen).size).toBe(seen.length)
        expect(seen.length).toBe(length * plan.model.queryHeads)
        const group = plan.model.queryHeads / plan.model.kvHeads
        const groups = work.map(({ head }) => Math.floor(head / group))
        expect(groups.filter((kv, i) => kv !== groups[i - 1])).toHaveLength(plan.model.kvHeads)
        for (const kv of new Set(groups)) {
          const firsts = work.filter(({ head }) => Math.floor(head / group) === kv).map(({ first }) => first)
          expect(firsts).toEqual(firsts.toSorted((a, b) => b - a))
        }
      }),
      { seed: 10 }
    ))
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
      fc.property(fc.integer({ min: 1, max: 20_000 }), plan, (length, plan) => {
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

describe("tileShare", () => {
  it("is 1 for a dense plan and shrinks with the window", () => {
    const geometry = { block: 24, sink: 0, minWindow: 1 }
    const uniform = (alpha: number, beta: number): Plan => ({
      format: 1,
      name: "uniform",
      model: { architecture: "LlamaForCausalLM", layers: 1, queryHeads: 6, kvHeads: 2, headDim: 24 },
      geometry,
      grouping: "kv-head",
      rules: [
        [
          { alpha, beta },
          { alpha, beta }
        ]
      ],
      length: "prompt",
      provenance: {}
    })
    expect(tileShare(uniform(0, 1), 1000, 64, 64)).toBe(1)
    const half = tileShare(uniform(0, 0.5), 2400, 16, 16)
    // A band of half the length covers 3/4 of the triangle.
    expect(half).toBeGreaterThan(0.74)
    expect(half).toBeLessThan(0.78)
    expect(tileShare(uniform(0, 0.1), 2400, 16, 16)).toBeLessThan(0.22)
    expect(layerWindows(uniform(0, 1), 0, 1000)[0]).toBe(blocks(geometry, 1000))
  })
})
