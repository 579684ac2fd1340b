/** Every kind of budget against every plan there is, by both solvers; and what is said where none is left. */
import { density, elastic, fixed, kvBytes, type Plan } from "@tessera/attention"
import { Effect } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  densityBudget,
  latencyBudget,
  type LatencyRow,
  layerDensityBudget,
  memoryBudget
} from "../src/index.js"
import {
  block,
  decode,
  feasible,
  lengthsOf,
  measure,
  obeysAll,
  problem,
  type Problem,
  row,
  shapeOf,
  tokensOf
} from "./brute.js"
import { fails, optimised, runtime, solve } from "./solver.js"

const double = (min: number, max: number) => fc.double({ min, max, noNaN: true })
const solver = fc.constantFrom("decomposition", "highs")

/** Times of a head at a length, for every number of tokens that a head may keep and some between; not all rising. */
const table = (length: number): fc.Arbitrary<ReadonlyArray<LatencyRow>> =>
  fc
    .array(double(0, 3), { minLength: 5, maxLength: 5 })
    .map((times) =>
      times.map((milliseconds, i) => ({ length, tokens: 32 + (i * (length - 32)) / 4, milliseconds }))
    )

const kinds: Readonly<Record<string, fc.Arbitrary<object>>> = {
  "density at one length": fc.record({
    budgets: double(0.3, 1).map((most) => [densityBudget({ most, lengths: [128] })])
  }),
  "density at a length that was not profiled": fc.record({
    budgets: double(0.3, 1).map((most) => [densityBudget({ most, lengths: [320] })])
  }),
  "density of each layer": fc.record({
    budgets: double(0.3, 1).map((most) => [layerDensityBudget({ most })])
  }),
  "density of each layer and of all": fc.record({
    density: double(0.3, 0.8),
    budgets: double(0.4, 1).map((most) => [layerDensityBudget({ most })])
  }),
  "density of each layer from below": fc.record({
    density: double(0.5, 0.9),
    budgets: fc
      .tuple(double(0.2, 0.6), double(0.6, 1))
      .map(([least, most]) => [layerDensityBudget({ least, most })])
  }),
  memory: fc.record({
    budgets: fc
      .record({
        share: double(0.3, 1),
        batch: fc.constantFrom(1, 7),
        bytesPerElement: fc.constantFrom(2, 0.5)
      })
      .map(({ batch, bytesPerElement, share }) => [
        memoryBudget({
          // Four heads of 8 dimensions, keys and values.
          gib: (share * 4 * 128 * 2 * 8 * batch * bytesPerElement) / 2 ** 30,
          length: 128,
          batch,
          bytesPerElement
        })
      ])
  }),
  "latency of heads": fc.record({
    budgets: fc
      .record({ milliseconds: double(1, 10), batch: fc.constantFrom(1, 2), table: table(128) })
      .map((fields) => [latencyBudget({ ...fields, length: 128, of: "head" })])
  }),
  "latency of layers": fc.record({
    budgets: fc
      .record({ milliseconds: double(0.5, 5), table: table(64) })
      .map((fields) => [latencyBudget({ ...fields, length: 64, of: "layer" })])
  }),
  "all of them": fc.record({
    density: double(0.5, 1),
    budgets: fc
      .tuple(double(0.5, 1), double(2, 10), table(128))
      .map(([most, milliseconds, table]) => [
        layerDensityBudget({ most, lengths: [64] }),
        memoryBudget({ gib: (0.7 * 4 * 128 * 2 * 8) / 2 ** 30, length: 128, bytesPerElement: 1 }),
        latencyBudget({ milliseconds, length: 128, of: "head", table })
      ])
  })
}

/** What `sum` minimises, of every plan's losses. */
const valueOf = (p: Problem) => {
  const range = lengthsOf(p).map((length) =>
    p.rows
      .filter((row) => row.length === length)
      .reduce((sum, { window }) => sum + Math.max(...window) - Math.min(...window), 0)
  )
  return (losses: ReadonlyArray<number>) => losses.reduce((sum, loss, n) => sum + loss / (range[n] || 1), 0)
}

describe("the optimum equals brute force and breaks no budget, under", () => {
  const cases = Object.entries(kinds).flatMap(([name, asks]) => [
    { name, asks, limit: false },
    { name: `${name}, with a limit of rules`, asks, limit: true }
  ])
  it.each(cases)("$name", async ({ asks, limit }) => {
    const asked = fc.tuple(asks, solver).map(([params, solver]) => ({ ...params, solver }))
    await fc.assert(
      fc.asyncProperty(problem({ lengths: [64, 128], objectives: "sum", limit, asks: asked }), async (p) => {
        const value = valueOf(p)
        const best = Math.min(...feasible(p).map(({ losses }) => value(losses)))
        const result = await runtime.runPromise(Effect.either(optimised(p)))
        if (result._tag === "Left") {
          expect([result.left.reason, best]).toEqual(["Infeasible", Infinity])
          return
        }
        const [{ plan }] = result.right
        expect(Math.abs(value(measure(p, plan.rules).losses) - best)).toBeLessThan(1e-7)
        expect(obeysAll(p, tokensOf(p, plan.rules))).toBe(true)
      }),
      { numRuns: 40, seed: 41, endOnFailure: true }
    )
  })
})

const falling = (blocks: number, size: number) =>
  Array.from({ length: blocks + 1 }, (_, w) => (size * (blocks - w)) / blocks)

/** Four layers, the last with the most to lose. */
const sample = (params: object): Problem => ({
  shape: shapeOf(4, 4, 2),
  params: decode({ minWindow: 1, objectives: "sum", ...params }),
  rows: [256, 512].flatMap((length) =>
    Array.from({ length: 16 }, (_, i) =>
      row(length, Math.floor(i / 4), i % 4, falling(length / block, 1 + 10 * Math.floor(i / 4)))
    )
  )
})

const layerDensities = (plan: Plan, length: number) =>
  plan.rules.map((rules) => density({ ...plan, model: { ...plan.model, layers: 1 }, rules: [rules] }, length))

describe("a budget", () => {
  it("of each layer holds where that of all does not ask for it, at every length", async () => {
    const [{ plan: free }] = await solve(sample({ density: 0.4 }))
    expect(Math.max(...layerDensities(free, 512))).toBeGreaterThan(0.6)
    const budgets = [layerDensityBudget({ most: 0.5, least: 0.2, lengths: [256, 512, 2048] })]
    const [{ plan }] = await solve(sample({ density: 0.4, budgets }))
    for (const length of [256, 512, 2048]) {
      expect(Math.max(...layerDensities(plan, length))).toBeLessThanOrEqual(0.5)
      expect(Math.min(...layerDensities(plan, length))).toBeGreaterThanOrEqual(0.2)
    }
    expect(density(plan, 512)).toBeLessThanOrEqual(0.4)
  })

  it("of memory is what the plan's KV caches take, to the byte, and one byte less is another plan", async () => {
    const bytes = 2 * kvBytes((await solve(sample({ density: 0.5 })))[0].plan, 512, 2)
    const held = async (bytes: number) => {
      const budgets = [memoryBudget({ gib: bytes / 2 ** 30, length: 512, batch: 2, bytesPerElement: 2 })]
      return 2 * kvBytes((await solve(sample({ budgets })))[0].plan, 512, 2)
    }
    expect(await held(bytes)).toBe(bytes)
    expect(await held(bytes - 1)).toBeLessThan(bytes)
  })

  it("of time is exact where the table's times add up to it", async () => {
    const rows = [32, 256].map((tokens) => ({ length: 256, tokens, milliseconds: tokens / 1000 }))
    const budgets = [latencyBudget({ milliseconds: 0.8, length: 256, of: "head", table: rows })]
    const [{ plan }] = await solve(sample({ budgets }))
    expect(density(plan, 256) * 256 * 8).toBe(800)
  })

  it("is in the plan's provenance, and a plan without a density is named by its number alone", async () => {
    const rows = [32, 256].map((tokens) => ({ length: 256, tokens, milliseconds: 1 }))
    const budgets = [
      layerDensityBudget({ most: 0.5, lengths: [512] }),
      memoryBudget({ gib: 1, length: 512, batch: 3, bytesPerElement: 2 }),
      latencyBudget({ milliseconds: 9, length: 256, of: "head", table: rows })
    ]
    const [{ plan }] = await solve(sample({ budgets }))
    expect(plan.name).toBe("moa-1")
    expect(plan.provenance["budgets"]).toBe(
      "density at most 0.5 of each layer at 512; memory at most 1 GiB for a batch of 3 at 512, 2 bytes an element; " +
        "latency at most 9 ms for a batch of 1 at 256, measured per head"
    )
    expect(plan.provenance["density"]).toBeUndefined()
  })
})

describe("where no plan is within a budget, it is said which, by how much, and what is reachable", () => {
  const rows = [32, 256].map((tokens) => ({ length: 256, tokens, milliseconds: tokens / 32 }))
  it.each([
    [
      "density at an unprofiled length",
      {
        budgets: [densityBudget({ most: 0.1, lengths: [4096] })],
        families: [elastic({ alphas: [0], betas: [0.25] })]
      },
      ["density 0.1 at length 4096", "keeps 1024 tokens a head", "0.15 more", "The least there is 0.25"]
    ],
    [
      "density of a layer",
      { density: 0.9, budgets: [layerDensityBudget({ most: 0.1, lengths: [256] })] },
      ["density 0.1 of each layer at length 256", "32 tokens a head", "The least there is 0.125"]
    ],
    [
      "density of a layer from below",
      { budgets: [layerDensityBudget({ least: 0.5, lengths: [512] })], families: [fixed([64, 128])] },
      [
        "least density 0.5 of each layer at length 512",
        "128 tokens a head",
        "0.25 less",
        "The most there is 0.25"
      ]
    ],
    [
      "memory",
      { budgets: [memoryBudget({ gib: 2 ** -17, length: 512, batch: 2, bytesPerElement: 2 })] },
      // 8 heads · 32 tokens · 2 · 8 · 2 bytes · batch of 2 = 16 KiB, of 8 KiB.
      ["memory 0.00000762939453125 GiB at length 512", "0.000007629 more", "The least there is 0.00001526"]
    ],
    [
      "latency",
      { budgets: [latencyBudget({ milliseconds: 6, length: 256, of: "head", table: rows })] },
      ["latency 6 ms at length 256", "32 tokens a head", "2 more", "The least there is 8"]
    ],
    [
      "latency against density from below",
      {
        lowerDensity: 0.5,
        budgets: [latencyBudget({ milliseconds: 20, length: 256, of: "head", table: rows })]
      },
      ["all lengths together", "by "]
    ]
  ])("%s", async (_, params, parts) => {
    for (const solver of ["decomposition", "highs"]) {
      const error = await fails(sample({ ...params, solver }))
      expect(error.reason).toBe("Infeasible")
      for (const part of parts) expect(error.message.replace(/7\\.629e-6/, "0.000007629")).toContain(part)
    }
  })
})

describe("parameters that say nothing sensible", () => {
  const good = { length: 256, of: "head", milliseconds: 9 } as const
  const rows = [64, 128].map((tokens) => ({ length: 256, tokens, milliseconds: 1 }))
  it.each([
    ["no budget at all", {}, "nothing bounds the plan"],
    [
      "a table without the length",
      { budgets: [latencyBudget({ ...good, length: 512, table: rows })] },
      "length 512 has rows of length 256 only; measure at 512 too"
    ],
    [
      "a table that ends before the rules do",
      { budgets: [latencyBudget({ ...good, table: rows })] },
      "from 64 to 128 tokens, but rules keep 32 to 256, and times are not extrapolated; measure at 32 and 256 too"
    ],
    [
      "a table with two times for one thing",
      {
        budgets: [latencyBudget({ ...good, table: [...rows, { length: 256, tokens: 64, milliseconds: 2 }] })]
      },
      "two rows of 64 tokens"
    ],
    [
      "memory of query heads that share KV heads",
      { grouping: "query-head", budgets: [memoryBudget({ gib: 1, length: 512, bytesPerElement: 2 })] },
      'use grouping "kv-head"'
    ]
  ])("%s", async (_, params, message) => {
    const error = await fails(sample(params))
    expect(error.reason).toBe("InvalidParams")
    expect(error.message).toContain(message)
  })

  it.each([
    ["a density of nothing", densityBudget({ most: 0 })],
    ["a density that is no number", densityBudget({ most: Number.NaN })],
    ["neither end", densityBudget({})],
    ["ends the wrong way around", layerDensityBudget({ most: 0.2, least: 0.3 })],
    ["no lengths", densityBudget({ most: 0.5, lengths: [] })],
    ["memory that is no number", memoryBudget({ gib: Number.NaN, length: 256, bytesPerElement: 2 })],
    ["elements of no bytes", memoryBudget({ gib: 1, length: 256, bytesPerElement: 0 })],
    ["an empty table", latencyBudget({ ...good, table: [] })],
    [
      "a time that is no number",
      latencyBudget({ ...good, table: [{ length: 256, tokens: 64, milliseconds: Number.NaN }] })
    ],
    ["a time below zero", latencyBudget({ ...good, table: [{ length: 256, tokens: 64, milliseconds: -1 }] })]
  ])("%s is refused", (_, budget) => {
    expect(() => decode({ budgets: [budget] })).toThrow(`["budgets"]`)
  })
})
