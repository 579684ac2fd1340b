/** Every family, and rules shared by heads, against every plan there is. */
import {
  binary,
  capped,
  denseOnly,
  elastic,
  fixed,
  log2,
  type RuleFamily,
  rules,
  sqrt
} from "@tessera/attention"
import { Effect } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  decode,
  feasible,
  measure,
  obeysAll,
  problem,
  type Problem,
  row,
  shapeOf,
  tokensOf
} from "./brute.js"
import { optimised, runtime, solve } from "./solver.js"

/** The plan is as good as the best there is, and within the budget. */
const isBest = async (p: Problem): Promise<boolean> => {
  const best = Math.min(...feasible(p).map(({ losses }) => losses[0] ?? 0))
  const result = await runtime.runPromise(Effect.either(optimised(p)))
  if (result._tag === "Left") {
    expect([result.left.reason, best]).toEqual(["Infeasible", Infinity])
    return true
  }
  const [{ expected, plan }] = result.right
  expect(Math.abs((expected[0]?.loss ?? Number.NaN) - best)).toBeLessThan(1e-9)
  expect(Math.abs((measure(p, plan.rules).losses[0] ?? Number.NaN) - best)).toBeLessThan(1e-9)
  return obeysAll(p, tokensOf(p, plan.rules))
}

describe("the optimum equals brute force", () => {
  const families: Readonly<Record<string, readonly [RuleFamily, ...ReadonlyArray<RuleFamily>]>> = {
    elastic: [elastic({ alphas: [-16, 0, 32], betas: [0.25, 0.5] })],
    fixed: [fixed([16, 48, 64, 112])],
    "fixed, and dense": [fixed([32, 64]), denseOnly],
    capped: [capped({ alphas: [0, 16], betas: [0.25, 1], caps: [48, 80] })],
    sqrt: [sqrt({ alphas: [0, 16], betas: [2, 4, 6] })],
    log2: [log2({ alphas: [-16, 0], betas: [8, 12] })],
    binary: [binary({ recent: 32 })],
    "rules of one's own": [
      rules([
        { alpha: 24, beta: 0.25, growth: "linear" },
        { alpha: 0, beta: 9, growth: "sqrt", cap: 90 }
      ])
    ],
    "several families": [binary({ recent: 16 }), sqrt({ alphas: [0], betas: [4, 6] }), fixed([96])]
  }
  it.each(Object.entries(families))("with %s", async (_, families) => {
    const extended = fc.record({
      density: fc.double({ min: 0.3, max: 1, noNaN: true }),
      extendLengths: fc.constantFrom([], [256])
    })
    await fc.assert(
      fc.asyncProperty(
        problem({ lengths: [128], objectives: "sum", families, asks: extended }),
        async (p) => {
          expect(await isBest(p)).toBe(true)
        }
      ),
      { numRuns: 30, seed: 31, endOnFailure: true }
    )
  })

  it.each(["layer", "model"] as const)("with one rule for each %s", async (share) => {
    const asks = fc.record({
      density: fc.double({ min: 0.2, max: 1, noNaN: true }),
      share: fc.constant(share),
      solver: fc.constantFrom("decomposition", "highs")
    })
    await fc.assert(
      fc.asyncProperty(problem({ lengths: [128], objectives: "sum", asks }), async (p) => {
        expect(await isBest(p)).toBe(true)
        const found = await runtime.runPromise(Effect.option(optimised(p)))
        if (found._tag === "None") return
        const layers = found.value[0].plan.rules.map(
          (layer) => new Set(layer.map((rule) => JSON.stringify(rule)))
        )
        expect(layers.map((layer) => layer.size)).toEqual([1, 1])
        if (share === "model") expect(layers[0]).toEqual(layers[1])
      }),
      { numRuns: 60, seed: 32, endOnFailure: true }
    )
  })
})

describe("what a head may keep", () => {
  const falling = (blocks: number, size: number) =>
    Array.from({ length: blocks + 1 }, (_, w) => (size * (blocks - w)) / blocks)
  const p = (params: object): Problem => ({
    shape: shapeOf(1, 4, 4),
    params: decode({ minWindow: 1, objectives: "sum", ...params }),
    rows: [128, 256].flatMap((length) =>
      [1, 2, 3, 4].map((size, head) => row(length, 0, head, falling(length / 16, size)))
    )
  })

  it("is all or the sink and so many recent tokens with the binary family: those with most to lose keep all", async () => {
    const [{ plan }] = await solve(p({ density: 0.5, families: [binary({ recent: 16 })] }))
    expect(plan.rules).toEqual([
      [
        { alpha: 32, beta: 0 },
        { alpha: 32, beta: 0 },
        { alpha: 32, beta: 0 },
        { alpha: 0, beta: 1 }
      ]
    ])
  })

  it("never grows past a cap", async () => {
    const [{ plan }] = await solve(p({ density: 1, families: [capped()] }))
    for (const { cap } of plan.rules.flat()) expect(cap).toBeLessThanOrEqual(256)
    const [{ plan: free }] = await solve(p({ density: 1, families: [capped(), elastic()] }))
    expect(new Set(free.rules.flat().map(({ beta }) => beta))).toEqual(new Set([1]))
  })

  it("is said by the linear rule where others are alike at all lengths and beyond", async () => {
    const same = [
      rules([
        { alpha: 64, beta: 0, growth: "log2" },
        { alpha: 64, beta: 0, cap: 4096 }
      ]),
      fixed([64])
    ]
    const [{ plan }] = await solve(p({ density: 0.5, families: same }))
    expect(plan.rules).toEqual([[0, 1, 2, 3].map(() => ({ alpha: 64, beta: 0 }))])
  })

  it("comes from presets that have enough rules for every density", async () => {
    for (const family of [elastic(), capped(), sqrt(), log2()])
      for (const density of [0.3, 0.4, 0.6, 0.8]) {
        const [{ expected }] = await solve(p({ density, families: [family] }))
        for (const { density: kept, length } of expected) {
          expect(kept).toBeLessThanOrEqual(density)
          if (length === 256) expect(kept).toBeGreaterThan(density - 0.1)
        }
      }
  })
})

it.each([
  ["no family", { families: [] }],
  ["a family without rules", { families: [rules([])] }],
  ["a window of no tokens", { families: [fixed([0])] }],
  ["a value that is not a number", { families: [fixed([Number.NaN])] }],
  ["a beta that is not a number", { families: [sqrt({ alphas: [0], betas: [Number.NaN] })] }],
  ["an empty grid", { families: [capped({ alphas: [], betas: [1], caps: [64] })] }],
  ["a cap below zero", { families: [capped({ alphas: [0], betas: [1], caps: [-1] })] }],
  ["a family nobody knows", { families: [{ family: "cubic" }] }]
])("%s is refused", (_, params) => {
  expect(() => decode({ density: 0.5, ...params })).toThrow(`["families"]`)
})
