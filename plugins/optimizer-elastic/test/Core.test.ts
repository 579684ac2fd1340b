import { Effect } from "effect"
import * as fc from "fast-check"
import { expect, it } from "vitest"
import { solveInCore } from "../src/Core.js"
import { type Program, Solver } from "../src/Highs.js"
import { runtime } from "./solver.js"

const limits = { timeLimit: 60, gap: 0 }
const heads = 10
const options = 40

/** One option for each head, two budgets; costs fall as options grow, as those of windows do. */
const program = (seeds: ReadonlyArray<number>, budgets: readonly [number, number]): Program => {
  const all = Array.from({ length: heads * options }, (_, i) => i)
  const wobble = (i: number) => ((seeds[i % seeds.length] ?? 0) * (1 + (i % 7))) % 1
  const size = (i: number, of: number) => 1 + Math.floor((i % options) * (of === 0 ? 1 : 1.5 + wobble(i)))
  const scale = (i: number) => 1 + 9 * (seeds[Math.floor(i / options)] ?? 0)
  return {
    cost: Float64Array.from(all, (i) => scale(i) * (10 / (1 + (i % options)) + 0.1 * wobble(i))),
    rows: [
      ...Array.from({ length: heads }, (_, head) => ({
        columns: all.slice(head * options, (head + 1) * options),
        values: Array.from({ length: options }, () => 1),
        lower: 1,
        upper: 1
      })),
      ...budgets.map((upper, of) => ({ columns: all, values: all.map((i) => size(i, of)), lower: 0, upper }))
    ]
  }
}

const sum = (program: Program, x: Float64Array, values: ArrayLike<number>) =>
  program.cost.reduce((sum, _, i) => sum + Math.round(x[i] ?? 0) * (values[i] ?? 0), 0)

it("finds what the whole program holds", async () => {
  const solver = await runtime.runPromise(Solver)
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 13, maxLength: 13 }),
      fc.integer({ min: 30, max: 200 }),
      fc.integer({ min: 40, max: 400 }),
      async (seeds, first, second) => {
        const whole = program(seeds, [first, second])
        const want = await Effect.runPromise(solver.solve(whole, limits, undefined))
        if (want === "late") return expect.fail("HiGHS had not time enough")
        const got = await Effect.runPromise(solveInCore(solver, whole, heads * options, limits, undefined))
        if (got === "late") return expect.fail("HiGHS had not time enough")
        expect(got?.proven).toBe(true)
        expect(Math.abs((got?.objective ?? Number.NaN) - (want?.objective ?? Number.NaN))).toBeLessThan(1e-4)
        expect(got?.bound).toBeLessThanOrEqual((got?.objective ?? Number.NaN) + 1e-6)
        const x = got?.x ?? new Float64Array()
        expect(sum(whole, x, whole.cost)).toBeCloseTo(got?.objective ?? Number.NaN, 4)
        for (const row of whole.rows.slice(heads))
          expect(sum(whole, x, row.values)).toBeLessThanOrEqual(row.upper)
      }
    ),
    { numRuns: 10, seed: 3, endOnFailure: true }
  )
})

it("finds nothing where there is nothing", async () => {
  const solver = await runtime.runPromise(Solver)
  const none = program([0.5], [heads - 1, 1000])
  expect(
    await Effect.runPromise(solveInCore(solver, none, heads * options, limits, undefined))
  ).toBeUndefined()
})
