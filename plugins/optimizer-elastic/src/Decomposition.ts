/**
 * Exact solutions by decomposition. Prices on budgets and caps prove a bound (Dual), plans near it are made whole
 * (Suggest), and where a gap is left, what it has not ruled out is solved as a mixed-integer program (Close).
 */
import { Effect } from "effect"
import { close, type Closed } from "./Close.js"
import { makePool } from "./Columns.js"
import { costOfAll, type Plan } from "./Descent.js"
import { maximise } from "./Dual.js"
import { lateError, OptimizerError } from "./Errors.js"
import {
  capsOf,
  ceilingOf,
  type Minimiser,
  objectiveOf,
  shiftedSum,
  type Solution,
  solutionOf,
  within
} from "./Goal.js"
import type { Solver } from "./Highs.js"
import { type Choice, type Instance, meets } from "./Instance.js"
import { fewMenus, menusOf, relaxer } from "./Menus.js"
import { minimise } from "./Minimise.js"
import { layerOf, separable, toChoice, toPicks } from "./Separable.js"
import { suggest, type Tools } from "./Suggest.js"
import { timer } from "./Timer.js"

/** Sums too small to be scaled up are nothing. */
const VANISHING = 1e-280
/** A plan below this share of the ceiling is reason to rule out more and begin again with a finer scale. */
const FINER = 1e-4
/** A gap that is rounding. */
const ROUNDING = 1e-11

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
      const time = yield* timer(limits.timeLimit)
      const objective = objectiveOf(instance, goal)
      const caps = capsOf(instance, goal)
      if (caps === undefined) return undefined

      const solution = (choice: Choice, bound: number, proven: boolean): Solution =>
        solutionOf(instance, goal, objective, choice, bound, proven, time.elapsed())
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
        if (!fewMenus(problem))
          return yield* minimise(solver, instance, goal, { ...limits, timeLimit: time.left() }, choice)
        const menus = menusOf(problem)
        const pool = makePool(problem)
        for (const { layer, options } of memory) {
          const own = problem.options[layer] ?? new Int32Array()
          const picks = Int16Array.from(options, (option) => own.indexOf(option))
          if (!picks.includes(-1)) pool.add(layer, picks)
        }
        const tools: Tools = { problem, menus, pool, timer: time }
        const startPicks = choice === undefined ? undefined : toPicks(problem, choice)
        if (startPicks !== undefined)
          for (let layer = 0; layer < problem.layers; layer++)
            pool.add(layer, layerOf(problem, startPicks, layer))

        const relaxed = relaxer(problem, menus)
        const dual = yield* maximise(solver, problem, relaxed, pool, {
          tolerance: Math.max(limits.gap / 20, 1e-7),
          ceiling: Math.max(ceiling, VANISHING),
          timer: time,
          start: memory.length === 0 ? undefined : new Float64Array(problem.couplings.length)
        })
        if (choice === undefined && dual.bound > ceiling * (1 + 1e-9)) return undefined
        // Costs are not below the bound but for rounding.
        const enough = Math.max(dual.bound, 0) / (1 - Math.min(Math.max(limits.gap, ROUNDING), 0.999))
        const good = ({ cost }: Plan) => cost <= enough
        const given =
          startPicks === undefined ? undefined : { picks: startPicks, cost: costOfAll(problem, startPicks) }
        const known = [given, dual.plan].reduce((a, b) =>
          a === undefined || (b !== undefined && b.cost < a.cost) ? b : a
        )
        const first =
          known !== undefined && good(known) ? known : yield* suggest(tools, dual, relaxed, known, enough)
        if (first !== undefined && first.cost < ceiling * FINER && round < 6) {
          choice = toChoice(problem, first.picks)
          continue
        }
        if (first === undefined && time.late()) return yield* lateError(limits.timeLimit)
        const closed: Closed =
          first !== undefined && (good(first) || time.late())
            ? { plan: first, bound: dual.bound, proven: good(first) }
            : yield* close(solver, tools, dual, Math.max(ceiling, VANISHING), first, limits.gap)
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
