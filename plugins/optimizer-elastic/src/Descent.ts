/**
 * Plans within the couplings from plans that may not be, by changes of single heads and of whole layers, one or two at a
 * time. Prices say which changes are worth a look: those that cost little at them.
 */
import { Effect } from "effect"
import type { Column } from "./Columns.js"
import { breathe } from "./Highs.js"
import { pricer } from "./Menus.js"
import { costOf, layerOf, type Picks, type Separable, usageOf } from "./Separable.js"

interface Move {
  readonly layer: number
  /** A head of the layer, or all of it where a column is given. */
  readonly head: number
  readonly option: number
  readonly column: Column | undefined
  /** Whether it changes which options the layer uses. */
  readonly wide: boolean
  readonly cost: number
  readonly priced: number
  readonly usage: Float64Array
}

/** Changes looked at one by one, those that cost least at the prices. */
const SINGLE = 6000
/** Changes looked at two by two. */
const PAIRED = 700
const ROUNDS = 400
/** Repairs by one change before two are tried. */
const SINGLES = 200

export interface Plan {
  readonly picks: Picks
  readonly cost: number
}

const usageOfAll = (problem: Separable, picks: Picks): Float64Array => {
  const sum = new Float64Array(problem.couplings.length)
  for (let layer = 0; layer < problem.layers; layer++)
    usageOf(problem, layer, layerOf(problem, picks, layer)).forEach(
      (used, k) => (sum[k] = (sum[k] ?? 0) + used)
    )
  return sum
}

export const costOfAll = (problem: Separable, picks: Picks): number => {
  let sum = 0
  for (let layer = 0; layer < problem.layers; layer++)
    sum += costOf(problem, layer, layerOf(problem, picks, layer))
  return sum
}

/** Whether picks meet all couplings. */
export const fits = (problem: Separable, picks: Picks): boolean => {
  const used = usageOfAll(problem, picks)
  return problem.couplings.every(({ most }, k) => (used[k] ?? 0) <= most)
}

/** Changes of single heads that the limit of options allows, and changes to columns, cheapest at the prices first. */
const movesFrom = (
  problem: Separable,
  picks: Picks,
  columns: ReadonlyArray<Column>,
  prices: Float64Array,
  price: ReturnType<typeof pricer>,
  most: number
): ReadonlyArray<Move> => {
  const { couplings, heads } = problem
  const moves: Array<Move> = []
  const now = Array.from({ length: problem.layers }, (_, layer) => {
    const own = layerOf(problem, picks, layer)
    return { cost: costOf(problem, layer, own), usage: usageOf(problem, layer, own) }
  })
  const priced = (cost: number, usage: Float64Array) =>
    usage.reduce((sum, used, k) => sum + used * (prices[k] ?? 0), cost)
  for (let layer = 0; layer < problem.layers; layer++) {
    const { excess } = price(layer, prices)
    const own = layerOf(problem, picks, layer)
    const cost = problem.cost[layer] ?? new Float64Array()
    const uses = new Map<number, number>()
    for (const option of own) uses.set(option, (uses.get(option) ?? 0) + 1)
    const count = problem.options[layer]?.length ?? 0
    for (let head = 0; head < heads; head++) {
      const from = own[head] ?? 0
      const after = uses.size - (uses.get(from) === 1 ? 1 : 0)
      const options = after < problem.limit ? Array.from({ length: count }, (_, r) => r) : [...uses.keys()]
      for (const option of options) {
        const at = option * heads + head
        const change = (excess[at] ?? Infinity) - (excess[from * heads + head] ?? 0)
        if (option === from || !(change <= most)) continue
        moves.push({
          layer,
          head,
          option,
          column: undefined,
          wide: !uses.has(option) || uses.get(from) === 1,
          cost: (cost[at] ?? 0) - (cost[from * heads + head] ?? 0),
          priced: change,
          usage: Float64Array.from(
            couplings,
            ({ values }) => (values[layer]?.[at] ?? 0) - (values[layer]?.[from * heads + head] ?? 0)
          )
        })
      }
    }
  }
  for (const column of columns) {
    const here = now[column.layer]
    if (here === undefined) continue
    const change = column.cost - here.cost
    const usage = column.usage.map((used, k) => used - (here.usage[k] ?? 0))
    const cheap = priced(change, usage)
    if (cheap > most || (change === 0 && usage.every((used) => used === 0))) continue
    moves.push({
      layer: column.layer,
      head: -1,
      option: 0,
      column,
      wide: true,
      cost: change,
      priced: cheap,
      usage
    })
  }
  // The sort is stable, so equal moves stay in the order of layers, heads and options.
  return moves.sort((a, b) => a.priced - b.priced).slice(0, SINGLE)
}

/**
 * The plan that changes lead to; `undefined` where none of them leads within the couplings.
 *
 * @param most changes that cost more than this at the prices are left out
 */
export const descend = (
  problem: Separable,
  start: Picks,
  columns: ReadonlyArray<Column>,
  prices: Float64Array,
  most: number,
  late: () => boolean
): Effect.Effect<Plan | undefined> =>
  Effect.gen(function* () {
    const { couplings, heads } = problem
    const price = pricer(problem)
    const picks = start.slice()
    const used = usageOfAll(problem, picks)
    const limits = Float64Array.from(couplings, (of) => of.most)
    const excessOf = (...moves: ReadonlyArray<Move>): number => {
      let sum = 0
      for (let k = 0; k < limits.length; k++) {
        let now = (used[k] as number) - (limits[k] as number)
        for (const { usage } of moves) now += usage[k] as number
        if (now > 0) sum += now / (couplings[k]?.unit ?? 1)
      }
      return sum
    }
    /** Whether one leaves the other what it is. */
    const together = (a: Move, b: Move) => a.layer !== b.layer || (!a.wide && !b.wide && a.head !== b.head)
    const floor = most * 1e-3
    const within = (a: Move, b: Move): boolean => {
      for (let k = 0; k < limits.length; k++)
        if ((used[k] as number) + (a.usage[k] as number) + (b.usage[k] as number) > (limits[k] as number))
          return false
      return true
    }
    const apply = ({ column, head, layer, option }: Move) => {
      if (column === undefined) picks[layer * heads + head] = option
      else picks.set(column.picks, layer * heads)
      // Counted anew: sums of differences would drift.
      used.set(usageOfAll(problem, picks))
    }

    for (let round = 0; round < ROUNDS && excessOf() > 0; round++) {
      yield* breathe
      if (late()) return undefined
      const missing = excessOf()
      const moves = movesFrom(problem, picks, columns, prices, price, most)
      let best: ReadonlyArray<Move> = []
      let least = Infinity
      const weigh = (left: number, ...some: ReadonlyArray<Move>) => {
        const gained = missing - left
        const worth = some.reduce((sum, move) => sum + Math.max(move.priced, 0), floor) / gained
        if (gained > missing * 1e-9 && worth < least) {
          best = some
          least = worth
        }
      }
      for (const move of moves) weigh(excessOf(move), move)
      if (best.length === 0 || round > SINGLES) {
        const some = moves.slice(0, PAIRED)
        for (const [i, a] of some.entries())
          for (let j = i + 1; j < some.length; j++) {
            const b = some[j] as Move
            if (together(a, b)) weigh(excessOf(a, b), a, b)
          }
      }
      if (best.length === 0)
        for (const move of movesFrom(problem, picks, columns, prices, price, Infinity))
          weigh(excessOf(move), move)
      if (best.length === 0) return undefined
      best.forEach(apply)
    }
    if (!fits(problem, picks)) return undefined

    const total = costOfAll(problem, picks)
    const worthwhile = -1e-12 * total
    for (let round = 0; round < ROUNDS && !late(); round++) {
      yield* breathe
      const moves = movesFrom(problem, picks, columns, prices, price, most)
      let changed = false
      // Layers changed in this round: the other moves there are stale.
      const stale = new Set<number>()
      for (const move of moves) {
        if (move.cost < worthwhile && !stale.has(move.layer) && excessOf(move) === 0) {
          apply(move)
          stale.add(move.layer)
          changed = true
        }
      }
      if (!changed) {
        const some = moves.slice(0, PAIRED)
        for (const [i, a] of some.entries()) {
          if (stale.has(a.layer)) continue
          let best: Move | undefined
          let least = worthwhile
          for (let j = i + 1; j < some.length; j++) {
            const b = some[j] as Move
            const cost = a.cost + b.cost
            if (!(cost < least) || stale.has(b.layer)) continue
            if (!together(a, b) || !within(a, b)) continue
            best = b
            least = cost
          }
          if (best === undefined) continue
          apply(a)
          apply(best)
          stale.add(a.layer)
          stale.add(best.layer)
          changed = true
        }
      }
      if (!changed) break
    }
    return { picks, cost: costOfAll(problem, picks) }
  })
