/**
 * HiGHS, as WebAssembly: one mixed-integer program in, one solution out.
 *
 * A solve blocks the process until it ends: WebAssembly is synchronous here. Interruption takes effect before and after
 * each solve, so a time limit bounds how long it can take.
 */
import { Effect } from "effect"
import type { Highs, Model } from "highs"
import { OptimizerError } from "./Errors.js"

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
}

export interface Answer {
  readonly x: Float64Array
  readonly objective: number
  /** No solution is better than this. */
  readonly bound: number
  /** False where the time limit was reached first. */
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

export interface Solver {
  readonly version: string
  /** `undefined` where no solution exists, not even a fractional one. */
  readonly relax: (program: Program, limits: Limits) => Effect.Effect<Relaxation | undefined, OptimizerError>
  /** `undefined` where no solution exists, `late` where none was found in time. */
  readonly solve: (
    program: Program,
    limits: Limits,
    start: Float64Array | undefined
  ) => Effect.Effect<Answer | "late" | undefined, OptimizerError>
}

// Imported when first used: a run that finds its plans cached does without. The package's types describe its CommonJS
// form; as a module it exports the loader itself.
const load = async (): Promise<Highs> => {
  const { default: loader } = await import("highs")
  return (loader as unknown as () => Promise<Highs>)()
}

const failed = (detail: string, cause?: unknown) => new OptimizerError({ reason: "Solver", detail, cause })

const withProgram = <A>(highs: Highs, program: Program, whole: boolean, use: (model: Model) => A): A => {
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
  const { variableType } = highs.constants
  return highs.withModel(
    {
      numCols: columns,
      numRows: program.rows.length,
      colCost: program.cost,
      colLower: new Float64Array(columns),
      colUpper: program.most ?? new Float64Array(columns).fill(1),
      rowLower: Float64Array.from(program.rows, (row) => row.lower),
      rowUpper: Float64Array.from(program.rows, (row) => row.upper),
      matrix: { format: "csr", numRows: program.rows.length, numCols: columns, starts, indices, values },
      integrality: new Int32Array(columns).fill(whole ? variableType.integer : variableType.continuous)
    },
    use
  )
}

const noSolution = (highs: Highs, status: number) =>
  status === highs.constants.modelStatus.infeasible ||
  status === highs.constants.modelStatus.unboundedOrInfeasible

const relax = (highs: Highs, program: Program, limits: Limits): Relaxation | undefined =>
  withProgram(highs, program, false, (model) => {
    model.options.set({ output_flag: false, random_seed: 0, time_limit: limits.timeLimit })
    model.run()
    const status = model.getModelStatus()
    if (noSolution(highs, status)) return undefined
    if (status !== highs.constants.modelStatus.optimal)
      throw new Error(`HiGHS ended the relaxation with model status ${status}; raise timeLimit`)
    const { colDual, colValue, rowDual } = model.getSolution()
    return { objective: model.getObjectiveValue(), x: colValue, rowDuals: rowDual, reducedCosts: colDual }
  })

const run = (
  highs: Highs,
  program: Program,
  limits: Limits,
  start: Float64Array | undefined
): Answer | "late" | undefined => {
  // The solver calls a program without columns neither solved nor impossible.
  if (program.cost.length === 0)
    return program.rows.every(({ lower, upper }) => lower <= 0 && upper >= 0)
      ? { x: new Float64Array(), objective: 0, bound: 0, proven: true }
      : undefined
  return withProgram(highs, program, true, (model) => {
    model.options.set({
      output_flag: false,
      random_seed: 0,
      time_limit: limits.timeLimit,
      mip_rel_gap: limits.gap,
      // Costs come scaled to about 1,000, so this is a billionth of them.
      mip_abs_gap: limits.absolute ?? 1e-6,
      ...(limits.cutoff === undefined ? {} : { objective_bound: limits.cutoff })
    })
    if (start !== undefined) model.setSolution({ colValue: start })
    model.run()
    const status = model.getModelStatus()
    const { modelStatus, solutionStatus } = highs.constants
    if (noSolution(highs, status) || status === modelStatus.objectiveBound) return undefined
    if (status !== modelStatus.optimal && status !== modelStatus.timeLimit)
      throw new Error(`HiGHS ended with model status ${status}`)
    if (model.info.get("primal_solution_status") !== solutionStatus.feasible) return "late"
    return {
      x: model.getSolution().colValue,
      objective: model.getObjectiveValue(),
      bound: Number(model.info.get("mip_dual_bound")),
      proven: status === modelStatus.optimal
    }
  })
}

/** Lets timers, signals and other fibers in between two blocking steps. */
export const breathe = Effect.async<void>((resume) => {
  const handle = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(handle))
})

// One instance serves a whole process: each solve has a model of its own, so nothing carries over.
let loaded: Promise<Highs> | undefined

const shared = (): Promise<Highs> => (loaded ??= load())

/** Loads the solver. */
export const makeSolver: Effect.Effect<Solver, OptimizerError> = Effect.map(
  Effect.tryPromise({
    try: shared,
    catch: (cause) => failed("the HiGHS solver (npm package highs) could not be loaded", cause)
  }),
  (highs) => {
    const attempt = <A>(work: () => A): Effect.Effect<A, OptimizerError> =>
      Effect.zipRight(
        breathe,
        Effect.try({
          try: work,
          catch: (cause) => {
            // Whatever threw may have left the instance unusable (out of memory, an abort).
            loaded = undefined
            return failed(cause instanceof Error ? cause.message : String(cause), cause)
          }
        })
      )
    return {
      version: `HiGHS ${highs.version.string}`,
      relax: (program, limits) => attempt(() => relax(highs, program, limits)),
      solve: (program, limits, start) => attempt(() => run(highs, program, limits, start))
    }
  }
)
