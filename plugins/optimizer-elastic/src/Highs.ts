/**
 * One program in, one solution out: what the optimizer asks of HiGHS and what it makes of the answers.
 */
import { Context, Effect, Layer } from "effect"
import type { Highs } from "highs"
import { OptimizerError } from "./Errors.js"
import { makeThread, type Stopped, type Thread } from "./Thread.js"

/** Minimise cost · x over binary x with lower <= A x <= upper. Rows are sparse. */
export interface Program {
  readonly cost: Float64Array
  /** The most of each column; 1 without it. */
  readonly most?: Float64Array
  readonly rows: ReadonlyArray<Row>
}

export interface Row {
  readonly columns: ArrayLike<number>
  readonly values: ArrayLike<number>
  readonly lower: number
  readonly upper: number
}

export interface Limits {
  /** Seconds. */
  readonly timeLimit: number
  /** Relative gap at which a solution counts as optimal. */
  readonly gap: number
  /** The gap at which it does in any case. */
  readonly absolute?: number
  /** Only solutions below it count. */
  readonly cutoff?: number
  /** A solution of this or less ends the search. */
  readonly target?: number
}

export interface Answer {
  readonly x: Float64Array
  readonly objective: number
  /** No solution is better than this. */
  readonly bound: number
  /** False where it ended before the gap was reached: by the time limit, or at the target. */
  readonly proven: boolean
}

/** The program with x anywhere between 0 and its most. */
export interface Relaxation {
  readonly objective: number
  readonly x: Float64Array
  /** By row: what the objective falls by where the row's bound rises by 1; of either sign. */
  readonly rowDuals: Float64Array
  /** What the objective rises by, at least, for each column that is raised from 0 to 1. */
  readonly reducedCosts: Float64Array
}

/**
 * `undefined` where no solution exists, `late` where none was found in time. The limit is a hard one: a run that does not
 * keep it is broken off a little later.
 */
export interface Solver {
  readonly version: string
  readonly relax: (
    program: Program,
    timeLimit: number
  ) => Effect.Effect<Relaxation | "late" | undefined, OptimizerError>
  /** Finds solutions of whole numbers. */
  readonly solve: (
    program: Program,
    limits: Limits,
    start: Float64Array | undefined
  ) => Effect.Effect<Answer | "late" | undefined, OptimizerError>
}
export const Solver = Context.GenericTag<Solver>("@tessera/optimizer-elastic/Solver")

type Status = keyof Highs["constants"]["modelStatus"] | Stopped["status"]

/** As in `highs.constants.variableType`. */
const CONTINUOUS = 0
const INTEGER = 1

const modelOf = (program: Program, whole: boolean) => {
  const columns = program.cost.length
  const entries = program.rows.reduce((sum, row) => sum + row.columns.length, 0)
  const starts = new Int32Array(program.rows.length + 1)
  const indices = new Int32Array(entries)
  const values = new Float64Array(entries)
  let at = 0
  program.rows.forEach((row, i) => {
    indices.set(row.columns, at)
    values.set(row.values, at)
    at += row.columns.length
    starts[i + 1] = at
  })
  return {
    numCols: columns,
    numRows: program.rows.length,
    colCost: program.cost,
    colLower: new Float64Array(columns),
    colUpper: program.most ?? new Float64Array(columns).fill(1),
    rowLower: Float64Array.from(program.rows, (row) => row.lower),
    rowUpper: Float64Array.from(program.rows, (row) => row.upper),
    matrix: { format: "csr", numRows: program.rows.length, numCols: columns, starts, indices, values },
    integrality: new Int32Array(columns).fill(whole ? INTEGER : CONTINUOUS)
  } as const
}

/** How much longer than its limit a run may take: the solver looks at the clock between steps. */
const graceful = (timeLimit: number) => timeLimit * 1.05 + 0.5

const noSolution = (status: Status) => status === "infeasible" || status === "unboundedOrInfeasible"

const odd = (status: Status) =>
  new OptimizerError({ reason: "Solver", detail: `HiGHS ended with the model status ${status}` })

const relax = (
  thread: Thread,
  program: Program,
  timeLimit: number
): Effect.Effect<Relaxation | "late" | undefined, OptimizerError> =>
  Effect.gen(function* () {
    const options = { output_flag: false, random_seed: 0, time_limit: timeLimit }
    const ended = yield* thread.run(
      { model: modelOf(program, false), options, start: undefined },
      graceful(timeLimit)
    )
    if (noSolution(ended.status)) return undefined
    if (ended.status === "stopped" || ended.status === "timeLimit") return "late"
    if (ended.status !== "optimal") return yield* odd(ended.status)
    const { colDual, colValue, rowDual } = ended.solution
    return { objective: ended.objective, x: colValue, rowDuals: rowDual, reducedCosts: colDual }
  })

const solve = (
  thread: Thread,
  program: Program,
  limits: Limits,
  start: Float64Array | undefined
): Effect.Effect<Answer | "late" | undefined, OptimizerError> =>
  Effect.gen(function* () {
    // The solver calls a program without columns neither solved nor impossible.
    if (program.cost.length === 0)
      return program.rows.every(({ lower, upper }) => lower <= 0 && upper >= 0)
        ? { x: new Float64Array(), objective: 0, bound: 0, proven: true }
        : undefined
    const options = {
      output_flag: false,
      random_seed: 0,
      time_limit: limits.timeLimit,
      mip_rel_gap: limits.gap,
      // Rows are in the hundreds, and caps on losses must not be broken by more than rounding.
      mip_feasibility_tolerance: 1e-9,
      // Costs come scaled to about 1,000, so this is a billionth of them.
      mip_abs_gap: limits.absolute ?? 1e-6,
      ...(limits.cutoff === undefined ? {} : { objective_bound: limits.cutoff }),
      ...(limits.target === undefined ? {} : { objective_target: limits.target })
    }
    const ended = yield* thread.run(
      { model: modelOf(program, true), options, start },
      graceful(limits.timeLimit)
    )
    if (ended.status === "stopped")
      return ended.best === undefined ? "late" : { ...ended.best, proven: false }
    if (noSolution(ended.status) || ended.status === "objectiveBound") return undefined
    const proven = ended.status === "optimal"
    if (!proven && ended.status !== "timeLimit" && ended.status !== "objectiveTarget")
      return yield* odd(ended.status)
    if (!ended.feasible) return "late"
    const { bound, objective, solution } = ended
    return { x: solution.colValue, objective, bound, proven }
  })

/** HiGHS in a thread that lives as long as the layer. */
export const highs: Layer.Layer<Solver, OptimizerError> = Layer.scoped(
  Solver,
  Effect.map(makeThread, (thread) => ({
    version: thread.version,
    relax: (program, timeLimit) => relax(thread, program, timeLimit),
    solve: (program, limits, start) => solve(thread, program, limits, start)
  }))
)
