/**
 * Minimises one weighted sum of the losses under the budgets and under caps on single losses: the mixed-integer program
 * of an instance, scaled so that the solver's tolerances (about 1e-6) are far below what is decided.
 */
import { Effect } from "effect"
import { concerns, scaled } from "./Bounds.js"
import { solveInCore } from "./Core.js"
import { lateError, OptimizerError } from "./Errors.js"
import type { Limits, Program, Row, Solver } from "./Highs.js"
import {
  type Cap,
  capsOf,
  ceilingOf,
  type Goal,
  objectiveOf,
  type Shifted,
  shiftedSum,
  type Solution,
  solutionOf,
  within
} from "./Goal.js"
import { type Choice, type Instance, meets } from "./Instance.js"
import { timer } from "./Timer.js"

/** The size that objective and caps have in the program. */
const SCALE = 1000
/** Sums too small to be scaled up are nothing. */
const VANISHING = 1e-280

interface Built {
  readonly program: Program
  /** Columns that are options of heads; those after them are rules of layers. */
  readonly choices: number
  /** Column of each head's first remaining option. */
  readonly first: ReadonlyArray<number>
  readonly columnOfRule: ReadonlyMap<string, number>
}

const build = (
  instance: Instance,
  left: ReadonlyArray<ReadonlyArray<number>>,
  objective: Shifted,
  scale: number,
  caps: ReadonlyArray<Cap>
): Built => {
  const width = instance.options.length
  const first: Array<number> = []
  const heads: Array<number> = []
  const options: Array<number> = []
  left.forEach((kept, head) => {
    first.push(options.length)
    for (const r of kept) {
      heads.push(head)
      options.push(r)
    }
  })
  const choices = options.length
  const all = Array.from({ length: choices }, (_, i) => i)
  const at = (i: number) => (heads[i] ?? 0) * width + (options[i] ?? 0)
  const rows: Array<Row> = left.map((kept, head) => ({
    columns: kept.map((_, i) => (first[head] ?? 0) + i),
    values: kept.map(() => 1),
    lower: 1,
    upper: 1
  }))
  for (const bound of instance.budgets) {
    const columns = all.filter((i) => concerns(bound, Math.floor((heads[i] ?? 0) / instance.headsPerLayer)))
    const { cost, least, most } = scaled(bound, new Set(columns.map((i) => options[i] ?? 0)))
    rows.push({ columns, values: columns.map((i) => cost(options[i] ?? 0)), lower: least, upper: most })
  }
  for (const { shifted, most } of caps) {
    const columns = all.filter((i) => (shifted.values[at(i)] ?? 0) > 0)
    if (columns.length > 0 && most > 0)
      rows.push({
        columns,
        values: columns.map((i) => ((shifted.values[at(i)] ?? 0) / most) * SCALE),
        lower: 0,
        upper: SCALE
      })
  }
  const columnOfRule = new Map<string, number>()
  if (instance.maxRulesPerLayer !== undefined) {
    for (let layer = 0; layer < instance.layers; layer++) {
      const own: Array<number> = []
      for (const i of all) {
        const head = heads[i] ?? 0
        if (Math.floor(head / instance.headsPerLayer) !== layer) continue
        const key = `${layer} ${options[i]}`
        let column = columnOfRule.get(key)
        if (column === undefined) {
          column = choices + columnOfRule.size
          columnOfRule.set(key, column)
          own.push(column)
        }
        rows.push({ columns: [i, column], values: [1, -1], lower: -1, upper: 0 })
      }
      rows.push({ columns: own, values: own.map(() => 1), lower: 0, upper: instance.maxRulesPerLayer })
    }
  }
  const cost = new Float64Array(choices + columnOfRule.size)
  for (const i of all) cost[i] = (objective.values[at(i)] ?? 0) * scale
  return { program: { cost, rows }, choices, first, columnOfRule }
}

const startOf = (
  instance: Instance,
  left: ReadonlyArray<ReadonlyArray<number>>,
  built: Built,
  choice: Choice | undefined
): Float64Array | undefined => {
  if (choice === undefined) return undefined
  const x = new Float64Array(built.program.cost.length)
  for (const [head, kept] of left.entries()) {
    const index = kept.indexOf(choice[head] ?? -1)
    // Another option of equal cost and loss may have been kept instead; the solver can do without a start.
    if (index < 0) return undefined
    x[(built.first[head] ?? 0) + index] = 1
    const rule = built.columnOfRule.get(`${Math.floor(head / instance.headsPerLayer)} ${choice[head]}`)
    if (rule !== undefined) x[rule] = 1
  }
  return x
}

const choiceOf = (left: ReadonlyArray<ReadonlyArray<number>>, built: Built, x: Float64Array): Choice =>
  Int32Array.from(left, (kept, head) => {
    const first = built.first[head] ?? 0
    // Whole up to the solver's tolerance, never truncated: 0.9999999 is a one.
    const best = kept.reduce((best, _, i) => ((x[first + i] ?? 0) > (x[first + best] ?? 0) ? i : best), 0)
    return kept[best] ?? 0
  })

/**
 * The choice of least weighted loss; `undefined` where none meets budgets and caps. A cap is met up to a billionth of
 * itself; budgets are met exactly, which is checked in whole tokens.
 *
 * A sum far below the largest loss would drown in the solver's tolerances: whatever cannot be in a plan as good as the
 * one found is then dropped, the rest is scaled up again, and solved once more.
 */
export const minimise = (
  solver: Solver,
  instance: Instance,
  goal: Goal,
  limits: Limits,
  start?: Choice
): Effect.Effect<Solution | undefined, OptimizerError> =>
  Effect.gen(function* () {
    const { elapsed, left } = yield* timer(limits.timeLimit)
    const objective = objectiveOf(instance, goal)
    const caps = capsOf(instance, goal)
    if (caps === undefined) return undefined

    const meetsCaps = (choice: Choice) =>
      caps.every(({ most, shifted }) => shiftedSum(instance, shifted, choice) <= most)
    let known = start !== undefined && meetsCaps(start) ? start : undefined
    let ceiling =
      known === undefined ? ceilingOf(instance, objective) : shiftedSum(instance, objective, known)
    for (let round = 0; ; round++) {
      const options = within(instance, [
        ...caps,
        { shifted: objective, most: ceiling * (1 + 1e-9) + Number.MIN_VALUE }
      ])
      if (options.some((kept) => kept.length === 0)) return undefined
      const scale = ceiling > VANISHING ? SCALE / ceiling : 1
      const built = build(instance, options, objective, scale, caps)
      const answer = yield* solveInCore(
        solver,
        built.program,
        built.choices,
        { ...limits, timeLimit: left() },
        startOf(instance, options, built, known)
      )
      if (answer === undefined) return undefined
      if (answer === "late") {
        if (known === undefined) return yield* lateError(limits.timeLimit)
        return solutionOf(instance, goal, objective, known, 0, false, elapsed())
      }
      const answered = choiceOf(options, built, answer.x)
      // A run that was stopped may have less than it began with.
      const choice =
        known !== undefined && !answer.proven && shiftedSum(instance, objective, answered) > ceiling
          ? known
          : answered
      const found = shiftedSum(instance, objective, choice)
      if (!meets(instance, choice) || (choice !== known && Math.abs(found * scale - answer.objective) > 1e-2))
        return yield* new OptimizerError({
          reason: "Solver",
          detail:
            `${solver.version} returned a plan that breaks a budget or has another loss than it says ` +
            `(${answer.objective / scale}, counted again ${found}); please report the influence that does it`
        })
      if (found * scale < 1 && found > VANISHING && answer.proven && round < 6) {
        known = choice
        ceiling = found
        continue
      }
      return solutionOf(
        instance,
        goal,
        objective,
        choice,
        Math.min(answer.bound / scale, found),
        answer.proven,
        elapsed()
      )
    }
  })
