import { elastic } from "@tessera/attention"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  decode,
  distinctPerLayer,
  feasible,
  lengthsOf,
  measure,
  middling,
  problem,
  type Problem,
  row,
  shapeOf
} from "./brute.js"
import { fails, solve } from "./solver.js"

type Losses = ReadonlyArray<number>

/** What each length's loss counts: its share of the losses' range there. */
const units = (p: Problem): Losses =>
  lengthsOf(p).map((length) => {
    const range = p.rows
      .filter((row) => row.length === length)
      .reduce((sum, { window }) => sum + Math.max(...window) - Math.min(...window), 0)
    return 1 / (range || 1)
  })

const CLOSE = 1e-8
const isBeaten = (one: Losses, by: Losses) =>
  by.every((loss, n) => loss <= (one[n] ?? 0) + 1e-12) && by.some((loss, n) => loss < (one[n] ?? 0) - CLOSE)
const isNear = (a: Losses, b: Losses) => a.every((loss, n) => Math.abs(loss - (b[n] ?? 0)) <= CLOSE)

/** Every point that no plan beats. */
const frontOf = (p: Problem): ReadonlyArray<Losses> => {
  const all = feasible(p).map(({ losses }) => losses)
  const front: Array<Losses> = []
  // Sorted by sums, what beats a point comes before it.
  const sum = (losses: Losses) => losses.reduce((total, loss) => total + loss, 0)
  for (const one of all.toSorted((a, b) => sum(a) - sum(b)))
    if (!front.some((other) => isBeaten(one, other) || isNear(one, other))) front.push(one)
  return front
}

const kinds = {
  "two lengths": { lengths: [64, 128], objectives: "pareto" },
  "two lengths under a limit of rules per layer": { lengths: [64, 128], limit: true, objectives: "pareto" },
  "three lengths": { lengths: [64, 96, 128], objectives: "pareto" }
} as const
const solvers = ["decomposition", "highs"] as const
const cases = solvers.flatMap((solver) =>
  Object.entries(kinds).map(([name, kind]) => ({ solver, name, kind }))
)

describe("an adaptive front", () => {
  it.each(cases)("is all that no plan beats: $name, $solver", async ({ kind, solver }) => {
    await fc.assert(
      fc.asyncProperty(problem(kind), async (p) => {
        const candidates = await solve(p, { front: "adaptive", problems: 10_000, solver })
        const mine = candidates.map(({ expected }) => expected.map(({ loss }) => loss))
        const front = frontOf(p)
        for (const point of front) expect(mine.some((one) => isNear(one, point))).toBe(true)
        for (const one of mine) expect(front.some((point) => isBeaten(one, point))).toBe(false)
        for (const { expected, plan } of candidates) {
          expect(plan.provenance["front"]).toMatch(/^all of it, after \d+ problems$/)
          expect(
            isNear(
              measure(p, plan.rules).losses,
              expected.map(({ loss }) => loss)
            )
          ).toBe(true)
          expect(distinctPerLayer(plan)).toBeLessThanOrEqual(p.params.maxRulesPerLayer ?? Infinity)
        }
      }),
      { numRuns: 8, seed: 31, endOnFailure: true }
    )
  })

  /** Heads of which some matter at one length and some at the other, and rules that keep the same share of both. */
  const rich = (seed: number): Problem => {
    const at = (i: number) => ((seed * 7919 + i * 104_729) % 997) / 997
    return {
      shape: shapeOf(2, 2, 2),
      params: decode({
        density: 0.5,
        minWindow: 1,
        gap: 0,
        families: [elastic({ alphas: [0], betas: [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875] })]
      }),
      rows: [256, 512].flatMap((length, n) =>
        Array.from({ length: 4 }, (_, head) =>
          row(
            length,
            Math.floor(head / 2),
            head % 2,
            Array.from({ length: length / 16 + 1 }, (_, w) =>
              w * 16 === length ? 0 : (0.2 + at(head + 10 * n)) / (1 + w * (0.1 + at(head + 20 + 10 * n)))
            )
          )
        )
      )
    }
  }

  it("that may not solve all problems says which box is left, and what it has is of the front", async () => {
    const many = Array.from({ length: 30 }, (_, seed) => rich(seed))
      .map((p) => ({ p, front: frontOf(p) }))
      .filter(({ front }) => front.length > 6)
    expect(many.length).toBeGreaterThan(2)
    for (const { front, p } of many.slice(0, 2)) {
      for (const problems of [1, 2]) {
        const candidates = await solve(p, { front: "adaptive", problems })
        const mine = candidates.map(({ expected }) => expected.map(({ loss }) => loss))
        for (const one of mine) expect(front.some((point) => isBeaten(one, point))).toBe(false)
        const missing = front.filter((point) => !mine.some((one) => isNear(one, point)))
        expect(missing.length).toBeGreaterThan(0)
        const said =
          /^not all of it after \d problems: the largest box left is (.+) to (.+) at 256, (.+) to (.+) at 512$/
        const [, ...ends] = said.exec(candidates[0].plan.provenance["front"] ?? "") ?? []
        const [left = NaN, right = NaN, bottom = NaN, top = NaN] = ends.map(Number)
        expect(right).toBeGreaterThan(left)
        expect(top).toBeGreaterThan(bottom)
        const widths = [0, 1].map((n) => {
          const at = mine.map((losses) => losses[n] ?? NaN)
          return Math.max(...at) - Math.min(...at)
        })
        const [width = NaN, height = NaN] = widths
        const largest = ((right - left) / width) * ((top - bottom) / height)
        for (const [x = NaN, y = NaN] of missing) {
          const next = Math.min(...mine.flatMap(([a = NaN]) => (a > x ? [a] : [])))
          const above = Math.min(...mine.flatMap(([, b = NaN]) => (b > y ? [b] : [])))
          expect(((next - x) / width) * ((above - y) / height)).toBeLessThanOrEqual(largest * 1.01)
        }
      }
      const [{ plan }] = await solve(p, { front: "adaptive" })
      expect(plan.provenance["front"]).toMatch(/^all of it/)
    }
  })
})

describe("one plan", () => {
  it.each(cases)("has the least largest share: $name, $solver", async ({ kind, solver }) => {
    await fc.assert(
      fc.asyncProperty(problem(kind), async (p) => {
        const candidates = await solve(p, { objectives: "minimax", solver })
        expect(candidates).toHaveLength(1)
        const [{ expected, plan }] = candidates
        const unit = units(p)
        const largest = (losses: Losses) => Math.max(...losses.map((loss, n) => loss * (unit[n] ?? 0)))
        const sum = (losses: Losses) => losses.reduce((total, loss, n) => total + loss * (unit[n] ?? 0), 0)
        const all = feasible(p).map(({ losses }) => losses)
        const best = Math.min(...all.map(largest))
        const mine = expected.map(({ loss }) => loss)
        expect(Math.abs(largest(mine) - best)).toBeLessThan(CLOSE)
        // Of plans alike in that, the least sum.
        const sums = all.filter((losses) => largest(losses) <= largest(mine) + 1e-12).map(sum)
        expect(sum(mine)).toBeLessThan(Math.min(...sums) + CLOSE)
        expect(plan.provenance["proof"]).toMatch(/^optimal, /)
      }),
      { numRuns: 12, seed: 33, endOnFailure: true }
    )
  })

  it.each(cases)("has the least weighted sum: $name, $solver", async ({ kind, solver }) => {
    await fc.assert(
      fc.asyncProperty(problem(kind), fc.double({ min: 0.01, max: 100, noNaN: true }), async (p, weight) => {
        const weights = { [String(lengthsOf(p)[0])]: weight }
        const [{ expected }] = await solve(p, { objectives: "sum", weights, solver })
        const unit = units(p).map((share, n) => (n === 0 ? share * weight : share))
        const sum = (losses: Losses) => losses.reduce((total, loss, n) => total + loss * (unit[n] ?? 0), 0)
        const best = Math.min(...feasible(p).map(({ losses }) => sum(losses)))
        expect(Math.abs(sum(expected.map(({ loss }) => loss)) - best)).toBeLessThan(CLOSE * (1 + weight))
      }),
      { numRuns: 12, seed: 34, endOnFailure: true }
    )
  })

  it("of weights for a length that was not profiled is refused", async () => {
    const p: Problem = {
      shape: shapeOf(1, 1, 1),
      params: decode({ density: 0.5, weights: { "999": 2 } }),
      rows: [row(64, 0, 0, [4, 3, 2, 1, 0])]
    }
    const error = await fails(p)
    expect(error.reason).toBe("InvalidParams")
    expect(error.message).toContain(
      "weights names length 999, which was not profiled; those that were are 64"
    )
    expect(() => decode({ density: 0.5, weights: { "64": 0 } })).toThrow(`["weights"]`)
  })
})

describe("on a middle-sized problem", () => {
  const shares = { alphas: [0], betas: Array.from({ length: 15 }, (_, i) => (i + 1) / 16) }

  it("the least largest share of the decomposition is that of HiGHS, within the gap", async () => {
    const p = middling(4, {
      objectives: "minimax",
      maxRulesPerLayer: 2,
      gap: 1e-3,
      families: [elastic(shares)]
    })
    const unit = units(p)
    const largest = async (solver: string, gap: number) => {
      const [{ expected, plan }] = await solve(p, { solver, gap })
      expect(plan.provenance["proof"]).toMatch(/^optimal, /)
      const value = Math.max(...expected.map(({ loss }, n) => loss * (unit[n] ?? 0)))
      expect(Number(plan.provenance["bound"])).toBeLessThanOrEqual(value)
      expect(Number(plan.provenance["bound"])).toBeGreaterThanOrEqual(value * (1 - gap) - 1e-12)
      return value
    }
    const best = await largest("highs", 1e-5)
    const own = await largest("decomposition", 1e-3)
    expect(own).toBeLessThanOrEqual(best / (1 - 1e-3))
    expect(own).toBeGreaterThanOrEqual(best * (1 - 1e-5))
  })

  it("an adaptive front within a gap has no plan that another beats, and says what is left", async () => {
    const p = middling(4, {
      objectives: "pareto",
      front: "adaptive",
      problems: 6,
      gap: 1e-3,
      families: [elastic(shares)]
    })
    const candidates = await solve(p)
    expect(candidates.length).toBeGreaterThan(4)
    const mine = candidates.map(({ expected }) => expected.map(({ loss }) => loss))
    for (const one of mine) expect(mine.some((other) => isBeaten(one, other))).toBe(false)
    expect(candidates[0].plan.provenance["front"]).toMatch(
      /^(all of it, after|not all of it after) \d+ problems/
    )
  })
})
