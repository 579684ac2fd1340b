import { createHash } from "node:crypto"
import { elastic, headDensity } from "@tessera/attention"
import { Effect, Exit, Fiber } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { latencyBudget, layerDensityBudget, optimise } from "../src/index.js"
import {
  distinctPerLayer,
  decode,
  feasible,
  large,
  middling,
  lengthsOf,
  problem,
  type Problem,
  row,
  shapeOf
} from "./brute.js"
import { fails, solve } from "./solver.js"

/** The value that `sum` minimises, of every plan's losses. */
const valueOf = (p: Problem) => {
  const range = lengthsOf(p).map((length) =>
    p.rows
      .filter((row) => row.length === length)
      .reduce((sum, { window }) => sum + Math.max(...window) - Math.min(...window), 0)
  )
  return (losses: ReadonlyArray<number>) => losses.reduce((sum, loss, n) => sum + loss / (range[n] || 1), 0)
}

describe("the decomposition equals brute force on 500 problems", () => {
  it.each([
    ["without a limit of rules", { lengths: [64, 128], objectives: "sum" }],
    ["under a limit of rules per layer", { lengths: [64, 128], limit: true, objectives: "sum" }]
  ] as const)("%s", { timeout: 240_000 }, async (_, kind) => {
    await fc.assert(
      fc.asyncProperty(problem(kind), async (p) => {
        const [{ expected, plan }] = await solve(p)
        const value = valueOf(p)
        const best = Math.min(...feasible(p).map(({ losses }) => value(losses)))
        expect(Math.abs(value(expected.map(({ loss }) => loss)) - best)).toBeLessThan(1e-9)
        for (const length of lengthsOf(p))
          expect(headDensity(plan, length)).toBeLessThanOrEqual((p.params.density as number) + 1e-12)
        expect(distinctPerLayer(plan)).toBeLessThanOrEqual(p.params.maxRulesPerLayer ?? Infinity)
      }),
      { numRuns: 250, seed: 21, endOnFailure: true }
    )
  })
})

describe("on middle-sized problems", () => {
  it.each([
    ["without a limit", {}],
    [
      "under a limit",
      {
        maxRulesPerLayer: 2,
        families: [elastic({ alphas: [-32, 0, 32, 64, 128], betas: [0, 0.125, 0.25, 0.5] })]
      }
    ],
    ["with a lower bound", { lowerDensity: 0.28 }],
    ["with budgets of each layer", { budgets: [layerDensityBudget({ most: 0.35, least: 0.2 })] }],
    [
      "with budgets of each layer under a limit",
      {
        budgets: [layerDensityBudget({ most: 0.35 })],
        maxRulesPerLayer: 2,
        families: [elastic({ alphas: [-32, 0, 32, 64, 128], betas: [0, 0.125, 0.25, 0.5] })]
      }
    ],
    [
      "with measured latency",
      {
        budgets: [
          latencyBudget({
            milliseconds: 3.3,
            length: 512,
            of: "head",
            table: [32, 48, 128, 300, 512].map((tokens) => ({
              length: 512,
              tokens,
              milliseconds: 0.037 + Math.sqrt(tokens) / 123
            }))
          })
        ]
      }
    ]
  ])("the plan is the optimum that HiGHS proves, or within the gap of it, %s", async (_, params) => {
    const p = middling(5, { gap: 1e-3, ...params })
    const value = valueOf(p)
    const own = value((await solve(p))[0].expected.map(({ loss }) => loss))
    const [reference] = await solve(p, { solver: "highs", gap: 0 })
    expect(reference.plan.provenance["proof"]).toBe("optimal, gap 0")
    const best = value(reference.expected.map(({ loss }) => loss))
    expect(own).toBeLessThanOrEqual(best * (1 + 1e-3) + 1e-9)
    expect(own).toBeGreaterThanOrEqual(best * (1 - 1e-9))
    const [exact] = await solve(p, { gap: 0 })
    expect(exact.plan.provenance["proof"]).toBe("optimal, gap 0")
    expect(Math.abs(value(exact.expected.map(({ loss }) => loss)) - best)).toBeLessThan(1e-9)
    for (const length of lengthsOf(p)) {
      expect(headDensity(exact.plan, length)).toBeLessThanOrEqual(0.3 + 1e-12)
      expect(headDensity(exact.plan, length)).toBeGreaterThanOrEqual((p.params.lowerDensity as number) || 0)
    }
  })

  it("plans and proofs are the same each time, ties too", async () => {
    const p = middling(6, { objectives: "pareto", points: 3, maxRulesPerLayer: 2 })
    const tied = {
      ...p,
      rows: p.rows.map((row, i) => ({ ...row, window: p.rows[i - (i % 4)]?.window ?? [] }))
    }
    expect(JSON.stringify(await solve(tied))).toBe(JSON.stringify(await solve(tied)))
  })

  it("ties are broken the same on each machine", async () => {
    // Sums and quotients alone, which every machine rounds alike; in each layer all heads are the same.
    const window = (length: number, layer: number) =>
      Array.from({ length: length / 16 + 1 }, (_, w) => (w * 16 === length ? 0 : (1 + (layer % 3)) / (1 + w)))
    const p: Problem = {
      shape: shapeOf(6, 4, 4),
      params: decode({
        density: 0.3,
        minWindow: 1,
        points: 3,
        maxRulesPerLayer: 2,
        gap: 0,
        families: [elastic({ alphas: [-32, 0, 32, 64], betas: [0, 0.125, 0.25, 0.5] })]
      }),
      rows: [256, 512].flatMap((length) =>
        Array.from({ length: 24 }, (_, i) => {
          const layer = Math.floor(i / 4)
          return row(length, layer, i % 4, window(length, layer))
        })
      )
    }
    const rules = JSON.stringify((await solve(p)).map(({ plan }) => plan.rules))
    expect(createHash("sha256").update(rules).digest("hex").slice(0, 16)).toBe("1b5642e60edd0fdd")
    const reversed = { ...p, rows: p.rows.toReversed() }
    expect(JSON.stringify((await solve(reversed)).map(({ plan }) => plan.rules))).toBe(rules)
  })

  it("a time limit keeps the best plan so far and says so", async () => {
    const p = large({ timeLimit: 0.4 })
    const begin = performance.now()
    const [{ expected, plan }] = await solve(p)
    expect(performance.now() - begin).toBeLessThan(45_000)
    const [, gap] = /^stopped at the time limit, gap (\S+)$/.exec(plan.provenance["proof"] ?? "") ?? []
    expect(Number(gap)).toBeGreaterThan(0)
    expect(Number(plan.provenance["bound"])).toBeLessThan(valueOf(p)(expected.map(({ loss }) => loss)))
    expect(distinctPerLayer(plan)).toBeLessThanOrEqual(2)
    for (const length of lengthsOf(p)) expect(headDensity(plan, length)).toBeLessThanOrEqual(0.3 + 1e-12)
  })

  it("where it passes before any plan is found, that is said", async () => {
    const p = large({ timeLimit: 0.2, solver: "highs" })
    const error = await fails(p)
    expect(error.reason).toBe("TimeLimit")
    expect(error.message).toBe("no plan was found within 0.2 s; raise timeLimit")
  })

  it("interruption ends it before the problem is solved", async () => {
    const p = middling(24, { objectives: "pareto", maxRulesPerLayer: 2 })
    const exit = await Effect.runPromise(
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(optimise(p.rows, p.shape, p.params))
        yield* Effect.sleep("150 millis")
        return yield* Fiber.interrupt(fiber)
      })
    )
    expect(Exit.isInterrupted(exit)).toBe(true)
  })
})
