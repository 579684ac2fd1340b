/**
 * Exact solutions by decomposition. Prices on budgets and caps prove a bound (Dual), plans near it are made whole
 * (Descent), and where a gap is left, what it has not ruled out is solved as a mixed-integer program (Remainder).
 */
import { Clock, Effect } from "effect"
import { makePool, type Pool } from "./Columns.js"
import { costOfAll, descend, fits, type Plan } from "./Descent.js"
import { type Dual, maximise } from "./Dual.js"
import { lateError, OptimizerError } from "./Errors.js"
import {
  capsOf,
  ceilingOf,
  type Goal,
  objectiveOf,
  shiftedSum,
  type Solution,
  weightedLoss,
  within
} from "./Goal.js"
import { breathe, type Limits, type Solver } from "./Highs.js"
import { type Choice, type Instance, meets } from "./Instance.js"
import { fewMenus, type Menus, menusOf, type Relaxed, relaxer } from "./Menus.js"
import { minimise } from "./Minimise.js"
import { entriesOf, programOf, remainderOf } from "./Remainder.js"
import { layerOf, type Separable, separable, toChoice, toPicks } from "./Separable.js"

/** Solves one problem of an instance; `undefined` where no plan meets budgets and caps. */
export interface Minimiser {
  (goal: Goal, limits: Limits, start?: Choice): Effect.Effect<Solution | undefined, OptimizerError>
}

/** Sums too small to be scaled up are nothing. */
const VANISHING = 1e-280
/** A plan below this share of the ceiling is reason to rule out more and begin again with a finer scale. */
const FINER = 1e-4
/** Columns of a remainder that is solved at once. */
const HANDY = 2000
/** How often a remainder is cut before a large one is solved after all. */
const HALVINGS = 16
/** Menus of a layer, among those that cost little, that plans are tried with. */
const MENUS = 60
const SCALE = 1000
/** A gap that is rounding. */
const ROUNDING = 1e-11

interface State {
  readonly problem: Separable
  readonly menus: Menus
  readonly pool: Pool
  readonly late: () => boolean
  readonly left: () => number
}

/** Shares by which prices are raised for a start that takes less of what is short. */
const DEARER = [0, 1e-3, 4e-3, 1.6e-2]

/** The plans that the dual's end suggests, each brought within the couplings. */
const firstPlans = (
  { late, menus, pool, problem }: State,
  dual: Dual,
  relaxed: (prices: Float64Array) => Relaxed,
  known: Plan | undefined,
  enough: number
): Effect.Effect<Plan | undefined> =>
  Effect.gen(function* () {
    const fallback = relaxed(dual.prices).picks
    const rounded = fallback.slice()
    const heaviest = new Float64Array(problem.layers)
    pool.columns.forEach((column, i) => {
      const weight = dual.weights[i] ?? 0
      if (weight > (heaviest[column.layer] ?? 0)) {
        heaviest[column.layer] = weight
        rounded.set(column.picks, column.layer * problem.heads)
      }
    })
    const reachOf = (cost: number | undefined) =>
      Math.max((cost ?? dual.bound * 1.02) - dual.bound, Math.abs(dual.bound) * 1e-3)
    // Every menu that costs little at the prices is a column too.
    let layer = 0
    for (const own of entriesOf(problem, menus, dual.prices, reachOf(known?.cost ?? dual.bound * 1.005))) {
      let tried = 0
      for (const { heads } of own) {
        pool.add(
          layer,
          Int16Array.from(heads, ([option = 0]) => option)
        )
        if (++tried === MENUS) break
      }
      layer++
      if (layer % 8 === 0) yield* breathe
    }
    let best = known
    const starts = function* () {
      yield rounded
      if (known !== undefined) yield known.picks
      for (const more of DEARER) yield relaxed(dual.prices.map((price) => price * (1 + more))).picks
    }
    for (const start of starts()) {
      const plan = yield* descend(
        problem,
        start,
        pool.columns,
        dual.prices,
        reachOf(best?.cost),
        enough,
        late
      )
      if (plan !== undefined && (best === undefined || plan.cost < best.cost)) best = plan
      if (late() || (best !== undefined && best.cost <= enough)) break
    }
    return best
  })

interface Closed {
  readonly plan: Plan | undefined
  readonly bound: number
  readonly proven: boolean
}

/** Solves what is left, a core of it first where it is much, until the gap is proven. */
const close = (
  solver: Solver,
  { late, left, menus, problem }: State,
  dual: Dual,
  ceiling: number,
  known: Plan | undefined,
  gap: number
): Effect.Effect<Closed, OptimizerError> =>
  Effect.gen(function* () {
    let plan = known
    let bound = dual.bound
    const top = () => plan?.cost ?? ceiling * (1 + 1e-9)
    let width = top() - dual.bound
    for (let first = true; ; first = false) {
      yield* breathe
      let rest = remainderOf(problem, menus, dual.prices, width, first ? HANDY : Infinity)
      for (let halvings = 1; rest === undefined; halvings++) {
        width /= 2
        rest = remainderOf(problem, menus, dual.prices, width, halvings < HALVINGS ? HANDY : Infinity)
      }
      const whole = width >= top() - dual.bound
      const scale = SCALE / top()
      const { offset, picksOf, program } = programOf(problem, rest, scale)
      const cutoff = plan === undefined ? top() : plan.cost * (1 - gap)
      if (rest.entries.some((own) => own.length === 0))
        return { plan, bound: whole ? cutoff : bound, proven: whole }
      const answer = yield* solver.solve(
        program,
        {
          timeLimit: Math.max(left(), 0.1),
          gap: 0,
          absolute: Math.max(gap * bound * scale, 1e-6),
          cutoff: (cutoff - offset) * scale + 1e-6
        },
        undefined
      )
      if (answer !== undefined && answer !== "late") {
        const picks = picksOf(answer.x)
        if (!fits(problem, picks))
          return yield* new OptimizerError({
            reason: "Solver",
            detail: `${solver.version} returned a plan that breaks a budget; please report the influence that does it`
          })
        const cost = costOfAll(problem, picks)
        if (plan === undefined || cost < plan.cost) plan = { picks, cost }
      }
      // Above the cutoff the solver looks no further, whatever bound it states.
      const inside =
        answer === "late"
          ? bound
          : answer === undefined
            ? cutoff
            : Math.min(answer.bound / scale + offset, cutoff)
      bound = Math.max(bound, Math.min(inside, whole ? Infinity : dual.bound + width))
      if (plan !== undefined) bound = Math.min(bound, plan.cost)
      const proven = whole && answer !== "late" && (answer === undefined || answer.proven)
      if (
        proven ||
        late() ||
        answer === "late" ||
        (plan !== undefined && plan.cost - bound <= gap * plan.cost)
      )
        return { plan, bound, proven: proven || (plan !== undefined && plan.cost - bound <= gap * plan.cost) }
      width = Math.min(width * 4, top() - dual.bound)
    }
  })

/**
 * A solver for the problems of one instance: each begins with the layers' plans that those before found. Its bounds are
 * proven by sums in a fixed order, so every machine has the same plans unless a time limit is reached.
 */
export const decomposition = (solver: Solver, instance: Instance): Minimiser => {
  /** Every plan found so far. */
  const plans: Array<Choice> = []
  /** Layers' plans in the mixes that proved bounds. */
  let memory: ReadonlyArray<{ readonly layer: number; readonly options: Int32Array }> = []

  return (goal, limits, start) =>
    Effect.gen(function* () {
      const begin = yield* Clock.currentTimeMillis
      const clock = yield* Effect.clock
      const elapsed = () => (clock.unsafeCurrentTimeMillis() - begin) / 1000
      const left = () => limits.timeLimit - elapsed()
      const late = () => left() <= 0
      const objective = objectiveOf(instance, goal)
      const caps = capsOf(instance, goal)
      if (caps === undefined) return undefined

      const solution = (choice: Choice, bound: number, proven: boolean): Solution => {
        const value = weightedLoss(instance, goal, choice)
        const cost = shiftedSum(instance, objective, choice)
        return {
          choice,
          value,
          bound: value - Math.max(cost - Math.max(bound, 0), 0),
          proven,
          seconds: elapsed()
        }
      }
      let choice = [...(start === undefined ? [] : [start]), ...plans]
        .filter((plan) => caps.every(({ most, shifted }) => shiftedSum(instance, shifted, plan) <= most))
        .reduce<Choice | undefined>(
          (best, plan) =>
            best === undefined ||
            shiftedSum(instance, objective, plan) < shiftedSum(instance, objective, best)
              ? plan
              : best,
          undefined
        )
      for (let round = 0; ; round++) {
        const cost = choice === undefined ? undefined : shiftedSum(instance, objective, choice)
        const ceiling = cost ?? ceilingOf(instance, objective)
        if (choice !== undefined && ceiling <= VANISHING) return solution(choice, 0, true)
        const options = within(instance, [
          ...caps,
          { shifted: objective, most: ceiling * (1 + 1e-9) + Number.MIN_VALUE }
        ])
        if (options.some((kept) => kept.length === 0)) return undefined
        const problem = separable(instance, options, objective, caps)
        if (!fewMenus(problem)) return yield* minimise(solver, instance, goal, limits, choice)
        const menus = menusOf(problem)
        const pool = makePool(problem)
        for (const { layer, options } of memory) {
          const own = problem.options[layer] ?? new Int32Array()
          const picks = Int16Array.from(options, (option) => own.indexOf(option))
          if (!picks.includes(-1)) pool.add(layer, picks)
        }
        const state: State = { problem, menus, pool, late, left }
        const startPicks = choice === undefined ? undefined : toPicks(problem, choice)
        if (startPicks !== undefined)
          for (let layer = 0; layer < problem.layers; layer++)
            pool.add(layer, layerOf(problem, startPicks, layer))

        const relaxed = relaxer(problem, menus)
        const dual = yield* maximise(solver, problem, relaxed, pool, {
          tolerance: Math.max(limits.gap / 20, 1e-7),
          ceiling: Math.max(ceiling, VANISHING),
          late,
          left,
          start: memory.length === 0 ? undefined : new Float64Array(problem.couplings.length)
        })
        if (choice === undefined && dual.bound > ceiling * (1 + 1e-9)) return undefined
        // Costs are not below the bound but for rounding.
        const enough = Math.max(dual.bound, 0) / (1 - Math.min(Math.max(limits.gap, ROUNDING), 0.999))
        const good = ({ cost }: Plan) => cost <= enough
        const known =
          startPicks === undefined ? undefined : { picks: startPicks, cost: costOfAll(problem, startPicks) }
        const first =
          known !== undefined && good(known) ? known : yield* firstPlans(state, dual, relaxed, known, enough)
        if (first !== undefined && first.cost < ceiling * FINER && round < 6) {
          choice = toChoice(problem, first.picks)
          continue
        }
        const closed: Closed =
          first !== undefined && (good(first) || late())
            ? { plan: first, bound: dual.bound, proven: good(first) }
            : yield* close(solver, state, dual, Math.max(ceiling, VANISHING), first, limits.gap)
        memory = pool.columns
          .filter((_, i) => i >= dual.weights.length || (dual.weights[i] ?? 0) > 0)
          .map(({ layer, picks }) => ({
            layer,
            options: Int32Array.from(picks, (r) => problem.options[layer]?.[r] ?? 0)
          }))
        if (closed.plan === undefined) {
          if (closed.proven && choice === undefined) return undefined
          if (choice !== undefined) return solution(choice, closed.bound, closed.proven)
          return yield* lateError(limits.timeLimit)
        }
        const found = toChoice(problem, closed.plan.picks)
        if (!meets(instance, found))
          return yield* new OptimizerError({
            reason: "Solver",
            detail:
              "the decomposition found a plan that breaks a budget; please report the influence that does it"
          })
        if (closed.plan.cost < ceiling * FINER && round < 6) {
          choice = found
          continue
        }
        plans.push(found)
        return solution(found, closed.bound, closed.proven)
      }
    })
}
