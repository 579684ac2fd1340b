import { Effect, Exit, Fiber } from "effect"
import { describe, expect, it } from "vitest"
import { highs, type Program, Solver } from "../src/Highs.js"
import { makeThread, type Task } from "../src/Thread.js"
import { optimise } from "../src/index.js"
import { large } from "./brute.js"

/** Threads of this process that run now. */
const threads = (): number =>
  (process.report.getReport() as unknown as { workers: Array<unknown> }).workers.length

const columns = 50
/** Coefficients as in Cornuéjols and Dawande: whole, evenly from 0 to 99, without a pattern. */
const coefficients = ((seed: number) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return Math.floor((seed / 2 ** 32) * 100)
})(7)
/** A market split: which columns make half of each row's sum exactly. Branch and bound takes hours. */
const hard: Program = {
  cost: Float64Array.from({ length: columns }, (_, i) => 1 + ((i * 37) % 11)),
  rows: Array.from({ length: 6 }, () => {
    const values = Array.from({ length: columns }, coefficients)
    const half = Math.floor(values.reduce((sum, value) => sum + value, 0) / 2)
    return { columns: values.map((_, i) => i), values, lower: half, upper: half }
  })
}
const easy: Program = {
  cost: Float64Array.of(3, 2, 1),
  rows: [{ columns: [0, 1, 2], values: [1, 1, 1], lower: 2, upper: 3 }]
}
const limits = (timeLimit: number) => ({ timeLimit, gap: 0 })
const withSolver = <A, E>(use: (solver: Solver) => Effect.Effect<A, E>) =>
  Effect.runPromise(Effect.provide(Effect.flatMap(Solver, use), highs))

describe("a run of HiGHS", () => {
  it("leaves the process free", async () => {
    let beats = 0
    const heart = setInterval(() => beats++, 10)
    await withSolver((solver) => solver.solve(hard, limits(1), undefined))
    clearInterval(heart)
    // Two at most, if it were not: before and after.
    expect(beats).toBeGreaterThan(10)
  })

  it("says that it was late, and the next one is not the worse for it", async () => {
    const [first, second] = await withSolver((solver) =>
      Effect.all([solver.solve(hard, limits(0.2), undefined), solver.solve(easy, limits(60), undefined)])
    )
    expect(first).toBe("late")
    expect(second).toMatchObject({ objective: 3, proven: true })
  })

  it("that does not keep its limit is broken off, with the best it had found", async () => {
    const task: Task = {
      model: {
        numCols: columns,
        numRows: hard.rows.length,
        // Worth as much as they weigh, all rows together, and a little: the hardest knapsacks.
        colCost: hard.cost.map(
          (cost, i) => -cost - hard.rows.reduce((sum, { values }) => sum + (values[i] ?? 0), 0)
        ),
        colLower: new Float64Array(columns),
        colUpper: new Float64Array(columns).fill(1),
        rowLower: new Float64Array(hard.rows.length),
        rowUpper: Float64Array.from(hard.rows, ({ upper }) => upper),
        matrix: {
          format: "csr",
          numRows: hard.rows.length,
          numCols: columns,
          starts: Int32Array.from({ length: 7 }, (_, r) => r * columns),
          indices: Int32Array.from({ length: 6 * columns }, (_, i) => i % columns),
          values: Float64Array.from(hard.rows.flatMap(({ values }) => Array.from(values)))
        },
        integrality: new Int32Array(columns).fill(1)
      },
      options: { output_flag: false, mip_rel_gap: 0, mip_abs_gap: 0, time_limit: 3600 },
      start: undefined
    }
    const begin = performance.now()
    const ended = await Effect.runPromise(
      Effect.scoped(Effect.flatMap(makeThread, (thread) => thread.run(task, 1.5)))
    )
    expect(ended.status).toBe("stopped")
    if (ended.status !== "stopped") return
    const x = ended.best?.x ?? new Float64Array()
    expect(x).toHaveLength(columns)
    for (const { upper, values } of hard.rows)
      expect(x.reduce((sum, one, i) => sum + Math.round(one) * (values[i] ?? 0), 0)).toBeLessThanOrEqual(
        upper
      )
    expect(performance.now() - begin).toBeLessThan(30_000)
    expect(threads()).toBe(0)
  })

  it("that is interrupted ends at once, and its thread with it", async () => {
    const exit = await Effect.runPromise(
      Effect.gen(function* () {
        const run = Effect.flatMap(Solver, (solver) => solver.solve(hard, limits(3600), undefined))
        const fiber = yield* Effect.fork(Effect.provide(run, highs))
        while (threads() === 0) yield* Effect.sleep("10 millis")
        yield* Effect.sleep("500 millis")
        return yield* Fiber.interrupt(fiber)
      })
    )
    expect(Exit.isInterrupted(exit)).toBe(true)
    expect(threads()).toBe(0)
  })

  it("that fails says why, and the next one has a thread that works", async () => {
    const broken: Program = { ...easy, rows: [{ columns: [0, 99], values: [1, 1], lower: 0, upper: 1 }] }
    const [error, answer] = await withSolver((solver) =>
      Effect.all([
        Effect.flip(solver.solve(broken, limits(60), undefined)),
        solver.solve(easy, limits(60), undefined)
      ])
    )
    expect(error.reason).toBe("Solver")
    expect(error.message).toMatch(/^HiGHS failed: ./)
    expect(answer).toMatchObject({ objective: 3, proven: true })
  })
})

it("an optimisation that is interrupted leaves no thread", async () => {
  const p = large({})
  const exit = await Effect.runPromise(
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(optimise(p.rows, p.shape, p.params))
      while (threads() === 0) yield* Effect.sleep("10 millis")
      return yield* Fiber.interrupt(fiber)
    })
  )
  expect(Exit.isInterrupted(exit)).toBe(true)
  expect(threads()).toBe(0)
})
