/**
 * Plans within the couplings from plans that may not be, by changes of single heads and of whole layers, one or two at a
 * time. Prices say which changes are worth a look: those that cost little at them.
 */
import { Effect } from "effect"
import type { Column } from "./Columns.js"
import { pricer } from "./Menus.js"
import { independent, type Move, movesOf } from "./Moves.js"
import { costOf, layerOf, type Picks, type Separable, usageOf } from "./Separable.js"
import { shortfall } from "./Shortfall.js"
import { breathe, type Timer } from "./Timer.js"

/** Changes looked at one by one, those that cost least at the prices. */
const SINGLE = 6000
/** Of these, the most of one layer: what is remembered between rounds. */
const OF_LAYER = 250
/** Changes looked at two by two. */
const PAIRED = 700
const ROUNDS = 300
/** Repairs by one change before two are tried. */
const REPAIRS = 100

export interface Plan {
  readonly picks: Picks
  readonly cost: number
}

export const costOfAll = (problem: Separable, picks: Picks): number => {
  let sum = 0
  for (let layer = 0; layer < problem.layers; layer++)
    sum += costOf(problem, layer, layerOf(problem, picks, layer))
  return sum
}

/** Whether picks meet all couplings. */
export const fits = (problem: Separable, picks: Picks): boolean => {
  const used = new Float64Array(problem.couplings.length)
  for (let layer = 0; layer < problem.layers; layer++)
    usageOf(problem, layer, layerOf(problem, picks, layer)).forEach(
      (of, k) => (used[k] = (used[k] ?? 0) + of)
    )
  return problem.couplings.every(({ most }, k) => (used[k] ?? 0) <= most)
}

/** A plan under change. */
interface Walk {
  readonly picks: Picks
  /** By coupling; always added up anew, layer by layer, so that nothing drifts. */
  readonly used: Float64Array
  readonly apply: (move: Move) => void
  /** Moves that cost at most `most` at the prices, cheapest first, layers and heads in order among equals. */
  readonly moves: (most: number) => ReadonlyArray<Move>
}

const walkFrom = (
  problem: Separable,
  start: Picks,
  columns: ReadonlyArray<Column>,
  prices: Float64Array
): Walk => {
  const { heads, layers } = problem
  const price = pricer(problem)
  const picks = start.slice()
  const used = new Float64Array(problem.couplings.length)
  const every = Array.from({ length: layers }, (_, layer) => layer)
  const excess = every.map((layer) => price(layer, prices).excess.slice(0, problem.cost[layer]?.length))
  const own = every.map((): Array<Column> => [])
  for (const column of columns) own[column.layer]?.push(column)
  const usage = every.map((layer) => usageOf(problem, layer, layerOf(problem, picks, layer)))
  const known = every.map(
    (): { readonly most: number; readonly moves: ReadonlyArray<Move> } | undefined => undefined
  )
  const count = () => {
    used.fill(0)
    for (const of of usage) for (let k = 0; k < used.length; k++) used[k] = (used[k] ?? 0) + (of[k] ?? 0)
  }
  count()
  return {
    picks,
    used,
    apply: ({ column, head, layer, option }) => {
      if (column === undefined) picks[layer * heads + head] = option
      else picks.set(column.picks, layer * heads)
      usage[layer] = usageOf(problem, layer, layerOf(problem, picks, layer))
      known[layer] = undefined
      count()
    },
    moves: (most) =>
      every
        .flatMap((layer) => {
          const before = known[layer]
          if (before !== undefined && before.most === most) return before.moves
          const moves = movesOf(
            problem,
            layer,
            layerOf(problem, picks, layer),
            own[layer] ?? [],
            prices,
            excess[layer] ?? new Float64Array(),
            most
          ).slice(0, OF_LAYER)
          known[layer] = { most, moves }
          return moves
        })
        .sort((a, b) => a.priced - b.priced)
        .slice(0, SINGLE)
  }
}

/**
 * The plan that changes lead to; `undefined` where none of them leads within the couplings.
 *
 * @param most changes that cost more than this at the prices are left out
 * @param enough a cost that need not be improved
 */
export const descend = (
  problem: Separable,
  start: Picks,
  columns: ReadonlyArray<Column>,
  prices: Float64Array,
  most: number,
  enough: number,
  { late }: Timer
): Effect.Effect<Plan | undefined> =>
  Effect.gen(function* () {
    const { apply: applyTo, moves: movesUpTo, picks, used } = walkFrom(problem, start, columns, prices)
    const { changed, missing } = shortfall(problem, used)
    const apply = (move: Move) => {
      applyTo(move)
      changed(move.layer)
    }

    for (let round = 0; missing() > 0; round++) {
      yield* breathe
      if (round >= ROUNDS || late()) return undefined
      const before = missing()
      const moves = movesUpTo(most)
      let best: readonly [Move, ...ReadonlyArray<Move>] | undefined
      let least = Infinity
      const weigh = (a: Move, b?: Move) => {
        const gained = before - missing(a, b)
        const worth = (most * 1e-3 + Math.max(a.priced, 0) + Math.max(b?.priced ?? 0, 0)) / gained
        if (gained > before * 1e-9 && worth < least) {
          best = b === undefined ? [a] : [a, b]
          least = worth
        }
      }
      for (const move of moves) weigh(move)
      if (best === undefined || round > REPAIRS) {
        const some = moves.slice(0, PAIRED)
        for (const [i, a] of some.entries())
          for (let j = i + 1; j < some.length; j++) {
            const b = some[j] as Move
            if (independent(a, b)) weigh(a, b)
          }
      }
      if (best === undefined) for (const move of movesUpTo(Infinity)) weigh(move)
      if (best === undefined) return undefined
      for (const move of best) apply(move)
    }

    let cost = costOfAll(problem, picks)
    for (let round = 0; round < ROUNDS && cost > enough && !late(); round++) {
      yield* breathe
      const moves = movesUpTo(most)
      const worthwhile = -1e-12 * cost
      // Layers changed in this round: the other moves there are stale.
      const stale = new Set<number>()
      for (const move of moves) {
        if (move.cost < worthwhile && !stale.has(move.layer) && missing(move) === 0) {
          apply(move)
          stale.add(move.layer)
        }
      }
      const some = stale.size > 0 ? [] : moves.slice(0, PAIRED)
      for (const [i, a] of some.entries()) {
        if (stale.has(a.layer)) continue
        let best: Move | undefined
        let least = worthwhile
        for (let j = i + 1; j < some.length; j++) {
          const b = some[j] as Move
          const sum = a.cost + b.cost
          if (sum < least && !stale.has(b.layer) && independent(a, b) && missing(a, b) === 0) {
            best = b
            least = sum
          }
        }
        if (best === undefined) continue
        for (const move of [a, best]) {
          apply(move)
          stale.add(move.layer)
        }
      }
      if (stale.size === 0) break
      cost = costOfAll(problem, picks)
    }
    return fits(problem, picks) ? { picks, cost } : undefined
  })
