/**
 * The best bound that prices on the couplings prove, by column generation: the master's duals are the next prices, the
 * layers' best plans at these prices are new columns. Stabilised by staying near the best prices so far.
 */
import { Effect } from "effect"
import { masterOf, PENALTY, type Pool } from "./Columns.js"
import { costOfAll, fits, type Plan } from "./Descent.js"
import type { OptimizerError } from "./Errors.js"
import type { Solver } from "./Highs.js"
import type { Relaxed } from "./Menus.js"
import { layerOf, type Separable } from "./Separable.js"
import { breathe, type Timer } from "./Timer.js"

export interface Dual {
  /** No plan costs less. */
  readonly bound: number
  /** By coupling, not negative: where that was proven. */
  readonly prices: Float64Array
  /** By column of the pool: its weight in the last master's mix. */
  readonly weights: Float64Array
  /** The cheapest of the layers' best plans that happened to meet the couplings. */
  readonly plan: Plan | undefined
}

export interface Effort {
  /** The dual may stop where its bound is within this share of its optimum. */
  readonly tolerance: number
  /** A cost that is not below what is looked for; above 0. */
  readonly ceiling: number
  readonly timer: Timer
  /** Prices of a problem like this one. */
  readonly start: Float64Array | undefined
}

const ITERATIONS = 120
/** The master's objective is about this. */
const SCALE = 1000
/** Columns a layer, on average, above which the worst are dropped. */
const CROWD = 60
/** How far from the master's duals to the best prices the next prices are taken. */
const NEARNESS = 0.4

export const maximise = (
  solver: Solver,
  problem: Separable,
  relaxed: (prices: Float64Array) => Relaxed,
  pool: Pool,
  { ceiling, start, timer, tolerance }: Effort
): Effect.Effect<Dual, OptimizerError> =>
  Effect.gen(function* () {
    const { couplings, layers } = problem
    let bound = -Infinity
    let prices: Float64Array = new Float64Array(couplings.length)
    let plan: Plan | undefined
    let fresh = 0
    const look = (at: Float64Array): number => {
      const answer = relaxed(at)
      fresh = 0
      for (let layer = 0; layer < layers; layer++)
        if (pool.add(layer, layerOf(problem, answer.picks, layer))) fresh++
      if (fits(problem, answer.picks)) {
        const cost = costOfAll(problem, answer.picks)
        if (plan === undefined || cost < plan.cost) plan = { picks: answer.picks, cost }
      }
      if (answer.bound > bound) {
        bound = answer.bound
        prices = at
      }
      return answer.bound
    }

    look(new Float64Array(couplings.length))
    if (start !== undefined) look(start)
    // One price for all budgets, from far too high down to the best: the bound is concave in it. At the highest, plans meet
    // the budgets if any do, so that there is one early.
    let before = -Infinity
    const highest = start === undefined ? 256 : 0
    for (let t = highest; t > 1e-15; t /= 4) {
      yield* breathe
      const now = look(
        Float64Array.from(couplings, ({ most, unit }) => (most > 0 ? (t * ceiling) / unit : 0))
      )
      if (now < before) break
      before = now
    }

    let weights: Float64Array = new Float64Array()
    let scale = SCALE / ceiling
    for (let iteration = 0; iteration < ITERATIONS; iteration++) {
      yield* breathe
      if (bound > ceiling || timer.late()) break
      const count = pool.columns.length
      const penalty = PENALTY * SCALE
      const master = yield* solver.relax(masterOf(problem, pool.columns, scale, penalty), timer.left())
      // Every layer has a column and every coupling may be exceeded, so it has a solution if it has time.
      if (master === undefined || master === "late") break
      weights = master.x.slice(0, count)
      const missed = master.x.slice(count).reduce((sum, x) => sum + x, 0)
      const value = master.objective / scale
      if (missed < 1e-9 && value - bound <= tolerance * value) break
      const duals = Float64Array.from(
        couplings,
        ({ unit }, k) => Math.max(-(master.rowDuals[layers + k] ?? 0), 0) / (scale * unit)
      )
      look(duals.map((price, k) => price + NEARNESS * ((prices[k] ?? 0) - price)))
      if (fresh === 0) {
        look(duals)
        if (fresh === 0) break
      }
      if (missed < 1e-9 && value > 0) scale = SCALE / Math.min(value, ceiling)
      if (pool.columns.length > CROWD * layers) {
        const order = Array.from(master.reducedCosts.slice(0, count)).sort((a, b) => a - b)
        const most = order[Math.floor((CROWD * layers) / 2)] ?? Infinity
        const reduced = master.reducedCosts
        pool.retain((i) => i >= count || (reduced[i] ?? 0) <= most)
        weights = weights.filter((_, i) => (reduced[i] ?? 0) <= most)
      }
    }
    return { bound, prices, weights, plan }
  })
