/**
 * Changes of one layer of a plan: one head to another option, or the whole layer to a known column.
 */
import type { Column } from "./Columns.js"
import { costOf, type Picks, type Separable, usageOf } from "./Separable.js"

export interface Move {
  readonly layer: number
  /** A head of the layer; -1 where a column is given. */
  readonly head: number
  readonly option: number
  readonly column: Column | undefined
  /** Whether it changes which options the layer uses. */
  readonly wide: boolean
  /** What the plan's cost rises by, by itself and with couplings at their prices. */
  readonly cost: number
  readonly priced: number
  readonly usage: Float64Array
}

/** Whether one move leaves the other what it is. */
export const independent = (a: Move, b: Move): boolean =>
  a.layer !== b.layer || (!a.wide && !b.wide && a.head !== b.head)

/**
 * All changes of a layer that its limit of options allows and that cost at most `most` at the prices.
 *
 * @param excess the layer's priced costs
 * @param columns of this layer
 */
export const movesOf = (
  problem: Separable,
  layer: number,
  own: Picks,
  columns: ReadonlyArray<Column>,
  prices: Float64Array,
  excess: Float64Array,
  most: number
): ReadonlyArray<Move> => {
  const { couplings, heads } = problem
  const cost = problem.cost[layer] ?? new Float64Array()
  const moves: Array<Move> = []
  const uses = new Map<number, number>()
  for (const option of own) uses.set(option, (uses.get(option) ?? 0) + 1)
  const every = Array.from(problem.options[layer] ?? [], (_, r) => r)
  const used = [...uses.keys()]
  for (let head = 0; head < heads; head++) {
    const from = own[head] ?? 0
    const last = uses.get(from) === 1
    const now = from * heads + head
    for (const option of uses.size - (last ? 1 : 0) < problem.limit ? every : used) {
      const at = option * heads + head
      const priced = (excess[at] ?? Infinity) - (excess[now] ?? 0)
      if (option === from || !(priced <= most)) continue
      moves.push({
        layer,
        head,
        option,
        column: undefined,
        // Where any head may take any option, no move hinders another.
        wide: problem.limit < heads && (last || !uses.has(option)),
        cost: (cost[at] ?? 0) - (cost[now] ?? 0),
        priced,
        usage: Float64Array.from(
          couplings,
          ({ values }) => (values[layer]?.[at] ?? 0) - (values[layer]?.[now] ?? 0)
        )
      })
    }
  }
  const cost0 = costOf(problem, layer, own)
  const usage0 = usageOf(problem, layer, own)
  for (const column of columns) {
    const usage = column.usage.map((of, k) => of - (usage0[k] ?? 0))
    const change = column.cost - cost0
    const priced = usage.reduce((sum, of, k) => sum + of * (prices[k] ?? 0), change)
    if (priced > most || (change === 0 && usage.every((of) => of === 0))) continue
    moves.push({ layer, head: -1, option: 0, column, wide: true, cost: change, priced, usage })
  }
  return moves.sort((a, b) => a.priced - b.priced)
}
