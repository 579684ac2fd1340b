/**
 * Spends what is left of the budgets where it costs nothing: single heads change to an option that loses no more at any
 * profiled length. Options that lose less come first; then those expected to lose less beyond the profiled lengths.
 */
import { budgetsByLayer, type Choice, type Instance, spentOf } from "./Instance.js"

interface Move {
  readonly head: number
  readonly option: number
  readonly worth: number
}

/**
 * The best moves first, one a head and round, until none is left. Deterministic: of equally good moves the first head's, then
 * the first option. The result meets what the choice met.
 */
export const polish = (instance: Instance, start: Choice): Choice => {
  const width = instance.options.length
  const choice = Int32Array.from(start)
  const spent = [...spentOf(instance, choice)]
  const budgets = budgetsByLayer(instance)
  const values = (table: Float64Array, head: number, option: number) => table[head * width + option] ?? 0
  const cost = (option: number, b: number) => instance.budgets[b]?.costs[option] ?? 0
  const layerOf = (head: number) => Math.floor(head / instance.headsPerLayer)

  const uses = Array.from({ length: instance.layers }, () => new Map<number, number>())
  choice.forEach((option, head) => {
    const layer = uses[layerOf(head)]
    layer?.set(option, (layer.get(option) ?? 0) + 1)
  })

  const allowed = (head: number, option: number): boolean => {
    const now = choice[head] ?? 0
    const fits = budgets[layerOf(head)]?.every((b) => {
      const { least = 0, most = 0 } = instance.budgets[b] ?? {}
      const after = (spent[b] ?? 0) - cost(now, b) + cost(option, b)
      return after >= least && after <= most
    })
    if (fits !== true || instance.maxRulesPerLayer === undefined) return fits === true
    const layer = uses[layerOf(head)]
    const rules = (layer?.size ?? 0) + (layer?.has(option) === true ? 0 : 1) - (layer?.get(now) === 1 ? 1 : 0)
    return rules <= instance.maxRulesPerLayer
  }

  /** What a move gains, by loss or beyond it; undefined where it loses anything. */
  const gain = (head: number, option: number, by: "loss" | "beyond"): number | undefined => {
    const now = choice[head] ?? 0
    let gained = 0
    for (const [o, table] of instance.loss.entries()) {
      const less = values(table, head, now) - values(table, head, option)
      if (less < 0) return undefined
      gained += less / (instance.range[o] ?? 1)
    }
    return by === "loss" ? gained : values(instance.beyond, head, now) - values(instance.beyond, head, option)
  }

  /** Every move that gains, the best first. */
  const moves = (by: "loss" | "beyond"): ReadonlyArray<Move> => {
    const found: Array<Move> = []
    for (let head = 0; head < instance.heads; head++) {
      for (let option = 0; option < width; option++) {
        const gained = gain(head, option, by)
        if (gained === undefined || !(gained > 0) || !allowed(head, option)) continue
        const price = (budgets[layerOf(head)] ?? []).reduce(
          (sum, b) =>
            sum +
            Math.max(cost(option, b) - cost(choice[head] ?? 0, b), 0) / (instance.budgets[b]?.most ?? 1),
          0
        )
        found.push({ head, option, worth: price === 0 ? Number.POSITIVE_INFINITY : gained / price })
      }
    }
    return found.sort((a, b) => (a.worth === b.worth ? 0 : b.worth - a.worth))
  }

  const make = ({ head, option }: Move) => {
    const now = choice[head] ?? 0
    for (const b of budgets[layerOf(head)] ?? []) spent[b] = (spent[b] ?? 0) - cost(now, b) + cost(option, b)
    const layer = uses[layerOf(head)]
    const left = (layer?.get(now) ?? 1) - 1
    if (left === 0) layer?.delete(now)
    else layer?.set(now, left)
    layer?.set(option, (layer.get(option) ?? 0) + 1)
    choice[head] = option
  }

  for (const by of ["loss", "beyond"] as const) {
    for (let changed = true; changed;) {
      changed = false
      const moved = new Set<number>()
      for (const move of moves(by)) {
        // What a head's other moves gain has changed with it; they have their turn in the next round.
        if (moved.has(move.head) || !allowed(move.head, move.option)) continue
        make(move)
        moved.add(move.head)
        changed = true
      }
    }
  }
  return choice
}
