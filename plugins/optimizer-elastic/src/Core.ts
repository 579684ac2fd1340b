/**
 * Solves a program by the few columns that matter. A plan's linear relaxation is fractional in a handful of heads only,
 * so a small core of columns with the least reduced costs nearly always holds a plan close to the bound; that plan then
 * rules out, with proof, most columns outside the core.
 */
import { Effect } from "effect"
import type { OptimizerError } from "./Errors.js"
import type { Answer, Limits, Program, Solver } from "./Highs.js"
import { timer } from "./Timer.js"

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

/**
 * As `solver.solve`, but faster.
 *
 * @param choices the first so many columns may be left out; the others stay
 * @param limits its time is that of all steps together
 */
export const solveInCore = (
  solver: Solver,
  program: Program,
  choices: number,
  limits: Limits,
  start: Float64Array | undefined
): Effect.Effect<Answer | "late" | undefined, OptimizerError> =>
  Effect.gen(function* () {
    const { left } = yield* timer(limits.timeLimit)
    const solve = (program: Program, start: Float64Array | undefined) =>
      solver.solve(program, { ...limits, timeLimit: left() }, start)
    if (choices <= SMALL) return yield* solve(program, start)
    const relaxed = yield* solver.relax(program, left())
    if (relaxed === undefined || relaxed === "late") return relaxed
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
    const inner = yield* solve(restrict(program, core), pick(core, start))
    // No plan in the core says nothing about the rest.
    if (inner === undefined || inner === "late") return yield* solve(program, start)
    const near = widen(program, core, inner)
    const gap = near.objective - relaxed.objective
    const open = gap + TOLERANCE <= threshold ? undefined : within(gap + TOLERANCE)
    if (open === undefined) return { ...near, bound: Math.max(near.bound, relaxed.objective) }
    const outer = yield* solve(restrict(program, open), pick(open, near.x))
    if (outer === undefined || outer === "late" || outer.objective > near.objective)
      return { ...near, bound: relaxed.objective, proven: false }
    const found = widen(program, open, outer)
    return { ...found, bound: Math.max(Math.min(found.bound, near.objective), relaxed.objective) }
  })
