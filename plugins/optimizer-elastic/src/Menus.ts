/**
 * The least a layer costs at given prices. A layer takes its options from a menu, a set of as many options as it may
 * have different ones; all menus are looked at, each head takes the best on it. Typed arrays throughout: 80 layers of 64
 * heads with 1,128 menus of two options each are some milliseconds.
 */
import type { Picks, Separable } from "./Separable.js"

export interface Menus {
  /** Options on a menu. */
  readonly size: number
  /** By layer: menu k has the layer's options at k · size … . */
  readonly of: ReadonlyArray<Int16Array>
}

/** Whether `menusOf` stays within memory and time; more options or a higher limit have too many menus. */
export const fewMenus = (problem: Separable): boolean => {
  const most = Math.max(...problem.options.map((own) => own.length))
  if (problem.limit >= problem.heads) return true
  let menus = 1
  for (let k = 0; k < Math.min(problem.limit, most); k++) menus = (menus * (most - k)) / (k + 1)
  return menus * problem.limit * problem.heads * problem.layers <= 4e8
}

const subsets = (options: number, size: number): Int16Array => {
  const found: Array<number> = []
  const chosen = Array.from({ length: size }, (_, i) => i)
  for (;;) {
    found.push(...chosen)
    let i = size - 1
    while (i >= 0 && chosen[i] === options - size + i) i--
    if (i < 0) return Int16Array.from(found)
    chosen[i] = (chosen[i] ?? 0) + 1
    for (let j = i + 1; j < size; j++) chosen[j] = (chosen[j - 1] ?? 0) + 1
  }
}

/** All menus of each layer; one with everything where options are not limited. */
export const menusOf = (problem: Separable): Menus => {
  const free = problem.limit >= problem.heads
  const most = Math.max(...problem.options.map((own) => own.length))
  const size = free ? most : Math.min(problem.limit, most)
  const known = new Map<number, Int16Array>()
  return {
    size,
    of: problem.options.map(({ length }) => {
      const all =
        known.get(length) ??
        // A layer of fewer options than a menu has names its last again.
        (length <= size
          ? Int16Array.from({ length: size }, (_, i) => Math.min(i, length - 1))
          : subsets(length, size))
      known.set(length, all)
      return all
    })
  }
}

/** Priced costs of one layer above the least of each head, in place of its costs. */
export interface Priced {
  /** Sum of the heads' least. */
  readonly floor: number
  /** As `Separable.cost`; reused by the next layer. */
  readonly excess: Float64Array
}

/** A function that prices one layer: cost + Σ price · coupling. Its answers share memory. */
export const pricer = (problem: Separable): ((layer: number, prices: Float64Array) => Priced) => {
  const { heads } = problem
  const excess = new Float64Array(Math.max(...problem.cost.map((of) => of.length)))
  const least = new Float64Array(heads)
  return (layer, prices) => {
    const cost = problem.cost[layer] ?? new Float64Array()
    const length = cost.length
    for (let i = 0; i < length; i++) excess[i] = cost[i] as number
    for (const [k, { values }] of problem.couplings.entries()) {
      const price = prices[k] ?? 0
      const of = values[layer]
      if (price === 0 || of === undefined) continue
      for (let i = 0; i < length; i++) excess[i] = (excess[i] as number) + price * (of[i] as number)
    }
    least.fill(Infinity)
    for (let i = 0, h = 0; i < length; i++) {
      const value = excess[i] as number
      if (value < (least[h] as number)) least[h] = value
      if (++h === heads) h = 0
    }
    let floor = 0
    for (let h = 0; h < heads; h++) floor += least[h] as number
    for (let i = 0, h = 0; i < length; i++) {
      excess[i] = (excess[i] as number) - (least[h] as number)
      if (++h === heads) h = 0
    }
    return { floor, excess }
  }
}

/** Heads added up before a menu is compared with the best. */
const STRIDE = 8

/** What a menu costs above the floor; stops early, at a value not below `enough`, where it costs that much. */
export const menuExcess = (
  menus: Int16Array,
  size: number,
  menu: number,
  excess: Float64Array,
  heads: number,
  enough: number
): number => {
  const at = menu * size
  let sum = 0
  if (size === 2) {
    const a = (menus[at] as number) * heads
    const b = (menus[at + 1] as number) * heads
    for (let h = 0; h < heads;) {
      const end = h + STRIDE < heads ? h + STRIDE : heads
      for (; h < end; h++) {
        const x = excess[a + h] as number
        const y = excess[b + h] as number
        sum += x < y ? x : y
      }
      if (sum >= enough) return sum
    }
    return sum
  }
  for (let h = 0; h < heads; h++) {
    let least = Infinity
    for (let i = 0; i < size; i++) {
      const value = excess[(menus[at + i] as number) * heads + h] as number
      if (value < least) least = value
    }
    sum += least
    if (sum >= enough) return sum
  }
  return sum
}

/** Each head's best on a menu; of equals the first. */
export const pickFrom = (
  menus: Int16Array,
  size: number,
  menu: number,
  excess: Float64Array,
  heads: number,
  picks: Picks
): void => {
  for (let h = 0; h < heads; h++) {
    let best = 0
    let least = Infinity
    for (let i = 0; i < size; i++) {
      const option = menus[menu * size + i] as number
      const value = excess[option * heads + h] as number
      if (value < least) {
        least = value
        best = option
      }
    }
    picks[h] = best
  }
}

export interface Relaxed {
  /** No plan costs less than this. */
  readonly bound: number
  /** The plan that would be best if couplings only cost their prices. */
  readonly picks: Picks
  /** By layer: the menu it takes, and what the layer costs at these prices. */
  readonly menu: Int32Array
  readonly value: Float64Array
}

/** A function from prices, not negative, to the bound they prove. */
export const relaxer = (problem: Separable, menus: Menus): ((prices: Float64Array) => Relaxed) => {
  const price = pricer(problem)
  const { heads, layers } = problem
  // The best menu seldom changes much from prices to prices: it goes first, others then stop early.
  const last = new Int32Array(layers)
  return (prices) => {
    const picks = new Int16Array(layers * heads)
    const menu = new Int32Array(layers)
    const value = new Float64Array(layers)
    let bound = 0
    for (let layer = 0; layer < layers; layer++) {
      const { floor, excess } = price(layer, prices)
      const own = menus.of[layer] ?? new Int16Array()
      const count = own.length / menus.size
      let best = last[layer] ?? 0
      let least = menuExcess(own, menus.size, best, excess, heads, Infinity)
      for (let k = 0; k < count && least > 0; k++) {
        const sum = menuExcess(own, menus.size, k, excess, heads, least)
        if (sum < least) {
          least = sum
          best = k
        }
      }
      last[layer] = best
      menu[layer] = best
      value[layer] = floor + least
      bound += floor + least
      pickFrom(own, menus.size, best, excess, heads, picks.subarray(layer * heads))
    }
    problem.couplings.forEach(({ most }, k) => (bound -= (prices[k] ?? 0) * most))
    return { bound, picks, menu, value }
  }
}
