/**
 * What can still be in a plan better than the one known: menus and options whose reduced cost is below the gap. That is
 * little, and an ordinary mixed-integer program.
 */
import type { Program, Row } from "./Highs.js"
import { menuExcess, type Menus, pricer } from "./Menus.js"
import type { Picks, Separable } from "./Separable.js"

/** One menu of a layer, and the options that each head may still take of it, the best at the prices first. */
interface Entry {
  readonly heads: ReadonlyArray<ReadonlyArray<number>>
}

export interface Remainder {
  /** By layer. */
  readonly entries: ReadonlyArray<ReadonlyArray<Entry>>
}

/**
 * Rules out all that costs `most` or more above the bound that the prices prove.
 *
 * @param room `undefined` instead of a remainder of more columns than this: a large one is not built to find out
 */
export const remainderOf = (
  problem: Separable,
  menus: Menus,
  prices: Float64Array,
  most: number,
  room: number
): Remainder | undefined => {
  let size = 0
  const entries: Array<ReadonlyArray<Entry>> = []
  for (const own of entriesOf(problem, menus, prices, most)) {
    const found: Array<Entry> = []
    for (const entry of own) {
      found.push(entry)
      size += entry.heads.reduce((sum, options) => sum + options.length - 1, 1)
      if (size > room + problem.layers) return undefined
    }
    entries.push(found)
  }
  return { entries }
}

/** By layer, in turn, what is not ruled out. */
export const entriesOf = function* (
  problem: Separable,
  menus: Menus,
  prices: Float64Array,
  most: number
): Generator<Generator<Entry>> {
  const price = pricer(problem)
  for (let layer = 0; layer < problem.layers; layer++)
    yield entriesAt(problem, menus, layer, price(layer, prices).excess, most)
}

const entriesAt = function* (
  problem: Separable,
  menus: Menus,
  layer: number,
  excess: Float64Array,
  most: number
): Generator<Entry> {
  const { heads } = problem
  const own = menus.of[layer] ?? new Int16Array()
  const count = own.length / menus.size
  let least = Infinity
  for (let k = 0; k < count; k++)
    least = Math.min(least, menuExcess(own, menus.size, k, excess, heads, least))
  const known = new Set<string>()
  // Rounding must not rule out what costs exactly as much.
  const enough = least + most * (1 + 1e-9)
  const at = (option: number, head: number) => excess[option * heads + head] ?? Infinity
  for (let k = 0; k < count; k++) {
    const sum = menuExcess(own, menus.size, k, excess, heads, enough)
    if (!(sum < enough)) continue
    const menu = [...new Set(own.subarray(k * menus.size, (k + 1) * menus.size))]
    const entry: Entry = {
      heads: Array.from({ length: heads }, (_, head) => {
        const ordered = menu.toSorted((a, b) => at(a, head) - at(b, head))
        const best = at(ordered[0] ?? 0, head)
        return ordered.filter((option, i) => i === 0 || sum + at(option, head) - best < enough)
      })
    }
    // Menus of which no head takes the options that differ are one.
    const key = entry.heads.map((options) => options.join(",")).join(" ")
    if (known.has(key)) continue
    known.add(key)
    yield entry
  }
}

export interface Rest {
  readonly program: Program
  /** The program's objective is scale · (cost - offset). */
  readonly offset: number
  readonly picksOf: (x: Float64Array) => Picks
}

/**
 * The program of a remainder: a column for each menu of a layer that has several, and one for each option of a head on it
 * but the best.
 *
 * @param slack sums of losses are held below their caps by this share
 */
export const programOf = (problem: Separable, { entries }: Remainder, scale: number, slack: number): Rest => {
  const { couplings, heads: width } = problem
  const cost: Array<number> = []
  const terms = couplings.map(() => ({ columns: [] as Array<number>, values: [] as Array<number>, fixed: 0 }))
  const rows: Array<Row> = []
  let offset = 0
  const add = (price: number, usage: ReadonlyArray<number>): number => {
    const column = cost.push(price * scale) - 1
    usage.forEach((used, k) => {
      if (used === 0) return
      terms[k]?.columns.push(column)
      terms[k]?.values.push(used)
    })
    return column
  }
  const layout = entries.map((own, layer) => {
    const at = (values: Float64Array | undefined, head: number, option: number) =>
      values?.[option * width + head] ?? 0
    const costs = problem.cost[layer]
    const base = own.map(({ heads }) => ({
      cost: heads.reduce((sum, options, head) => sum + at(costs, head, options[0] ?? 0), 0),
      usage: couplings.map(({ values }) =>
        heads.reduce((sum, options, head) => sum + at(values[layer], head, options[0] ?? 0), 0)
      )
    }))
    const first = base[0]
    offset += first?.cost ?? 0
    first?.usage.forEach((used, k) => {
      const term = terms[k]
      if (term !== undefined) term.fixed += used
    })
    const menus = own.map((_, i) =>
      own.length === 1
        ? undefined
        : add(
            (base[i]?.cost ?? 0) - (first?.cost ?? 0),
            couplings.map((_, k) => (base[i]?.usage[k] ?? 0) - (first?.usage[k] ?? 0))
          )
    )
    if (own.length > 1)
      rows.push({
        columns: menus.map((column) => column ?? 0),
        values: menus.map(() => 1),
        lower: 1,
        upper: 1
      })
    return own.map(({ heads }, i) => ({
      menu: menus[i],
      heads: heads.map(([best = 0, ...others], head) => {
        const columns = others.map((option) =>
          add(
            at(costs, head, option) - at(costs, head, best),
            couplings.map(({ values }) => at(values[layer], head, option) - at(values[layer], head, best))
          )
        )
        const menu = menus[i]
        if (columns.length > 0)
          rows.push(
            menu === undefined
              ? { columns, values: columns.map(() => 1), lower: 0, upper: 1 }
              : { columns: [...columns, menu], values: [...columns.map(() => 1), -1], lower: -1, upper: 0 }
          )
        return { best, others, columns }
      })
    }))
  })
  couplings.forEach(({ most, unit }, k) => {
    const { columns = [], fixed = 0, values = [] } = terms[k] ?? {}
    // Whole tokens stay whole; other sums are scaled to the solver's range.
    const whole = values.every(Number.isInteger) && Number.isInteger(most)
    const by = whole ? 1 : 1000 / unit
    rows.push({
      columns,
      values: values.map((value) => value * by),
      lower: -Infinity,
      upper: (most - fixed - (whole ? 0 : slack * unit)) * by
    })
  })
  return {
    program: { cost: Float64Array.from(cost), rows },
    offset,
    picksOf: (x) => {
      const picks = new Int16Array(problem.layers * width)
      layout.forEach((own, layer) => {
        const taken = own.find(({ menu }) => menu === undefined || (x[menu] ?? 0) > 0.5)
        taken?.heads.forEach(({ best, columns, others }, head) => {
          const other = columns.findIndex((column) => (x[column] ?? 0) > 0.5)
          picks[layer * width + head] = other < 0 ? best : (others[other] ?? best)
        })
      })
      return picks
    }
  }
}
