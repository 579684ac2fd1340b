/**
 * Plans near the bound that prices prove: what the layers take at these prices, brought within the couplings.
 */
import { Effect } from "effect"
import type { Pool } from "./Columns.js"
import { descend, type Plan } from "./Descent.js"
import type { Dual } from "./Dual.js"
import type { Menus, Relaxed } from "./Menus.js"
import { entriesOf } from "./Remainder.js"
import type { Separable } from "./Separable.js"
import { breathe, type Timer } from "./Timer.js"

/** Menus of a layer, among those that cost little, that plans are tried with. */
const MENUS = 60
/** Shares by which prices are raised for a start that takes less of what is short. */
const DEARER = [0, 1e-3, 4e-3, 1.6e-2]

/** What a problem is solved with. */
export interface Tools {
  readonly problem: Separable
  readonly menus: Menus
  readonly pool: Pool
  readonly timer: Timer
}

/**
 * The best of the plans that the dual's end suggests, and of the known one.
 *
 * @param enough a cost that need not be improved
 */
export const suggest = (
  { menus, pool, problem, timer }: Tools,
  dual: Dual,
  relaxed: (prices: Float64Array) => Relaxed,
  known: Plan | undefined,
  enough: number
): Effect.Effect<Plan | undefined> =>
  Effect.gen(function* () {
    if (timer.late()) return known
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
        timer
      )
      if (plan !== undefined && (best === undefined || plan.cost < best.cost)) best = plan
      if (timer.late() || (best !== undefined && best.cost <= enough)) break
    }
    return best
  })
