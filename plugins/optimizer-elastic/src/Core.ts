/**
 * Solves a program by the few columns that matter. A plan's linear relaxation is fractional in a handful of heads only,
 * so a small core of columns with the least reduced costs nearly always holds a plan close to the bound; that plan then
 * rules out, with proof, most columns outside the core.
 */
import { Effect } from "effect"
import { lateError, type OptimizerError } from "./Errors.js"
import type { Answer, Limits, Program, Solver } from "./Highs.js"

/** Smaller programs gain nothing. */
const SMALL = 300
/** Columns in the core for each that a plan takes. */
const WIDTH = 8
/** What the solver's tolerances may make of an objective of about 1,000. */
const TOLERANCE = 1e-5

const restrict = (program: Program, columns: ReadonlyArray<number>): Program => {
  const place = new Int32Array(program.cost.length).fill(-1)
  columns.forEach((column, i) => (place[column] = i))
  return {
    cost: Float64Array.from(columns, (column) => program.cost[column] ?? 0),
    rows: program.rows.map((row) => {
      const kept = Array.from(row.columns, (_, i) => i).filter((i) => (place[row.columns[i] ?? 0] ?? -1) >= 0)
      return {
        columns: kept.map((i) => place[row.columns[i] ?? 0] ?? 0),
        values: kept.map((i) => row.values[i] ?? 0),
        lower: row.lower,
        upper: row.upper
      }
    })
  }
}

const widen = (program: Program, columns: ReadonlyArray<number>, answer: Answer): Answer => {
  const x = new Float64Array(program.cost.length)
  columns.forEach((column, i) => (x[column] = answer.x[i] ?? 0))
  return { ...answer, x }
}

/** Solves, or fails where no plan was found in time. */
const inTime = (
  solver: Solver,
  program: Program,
  limits: Limits,
  start: Float64Array | undefined
): Effect.Effect<Answer | undefined, OptimizerError> =>
  Effect.flatMap(solver.solve(program, limits, start), (answer) =>
    answer === "late" ? Effect.fail(lateError(limits.timeLimit)) : Effect.succeed(answer)
  )

/**
 * As `solver.solve`, but faster.
 *
 * @param choices the first so many columns may be left out; the others stay
 */
export const solveInCore = (
  solver: Solver,
  program: Program,
  choices: number,
  limits: Limits,
  start: Float64Array | undefined
): Effect.Effect<Answer | undefined, OptimizerError> =>
  Effect.gen(function* () {
    if (choices <= SMALL) return yield* inTime(solver, program, limits, start)
    const relaxed = yield* solver.relax(program, limits)
    if (relaxed === undefined) return undefined
    const all = Array.from(program.cost, (_, column) => column)
    const price = (column: number) => (column < choices ? (relaxed.reducedCosts[column] ?? 0) : 0)
    // The first rows pick one option for each head: as many as rows that are equalities.
    const heads = program.rows.filter((row) => row.lower === 1 && row.upper === 1).length
    const threshold =
      all
        .slice(0, choices)
        .map(price)
        .sort((a, b) => a - b)[Math.min(choices - 1, heads * WIDTH)] ?? 0
    const within = (most: number) =>
      all.filter((column) => price(column) <= most || (start !== undefined && (start[column] ?? 0) > 0))
    const pick = (columns: ReadonlyArray<number>, x: Float64Array | undefined) =>
      x === undefined ? undefined : Float64Array.from(columns, (column) => x[column] ?? 0)

    const core = within(threshold)
    const inner = yield* inTime(solver, restrict(program, core), limits, pick(core, start))
    // No plan in the core says nothing about the rest.
    if (inner === undefined) return yield* inTime(solver, program, limits, start)
    const near = widen(program, core, inner)
    const gap = near.objective - relaxed.objective
    const open = gap + TOLERANCE <= threshold ? undefined : within(gap + TOLERANCE)
    if (open === undefined) return { ...near, bound: Math.max(near.bound, relaxed.objective) }
    const outer = yield* inTime(solver, restrict(program, open), limits, pick(open, near.x))
    if (outer === undefined || outer.objective > near.objective)
      return { ...near, bound: relaxed.objective, proven: false }
    const found = widen(program, open, outer)
    return { ...found, bound: Math.max(Math.min(found.bound, near.objective), relaxed.objective) }
  })
