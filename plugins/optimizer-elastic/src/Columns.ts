/**
 * Plans of single layers met on the way, and the best fractional mix of them: the restricted master of Dantzig and
 * Wolfe's decomposition. Its row duals are the prices to look at next.
 */
import type { Program, Row } from "./Highs.js"
import { costOf, type Picks, type Separable, usageOf } from "./Separable.js"

export interface Column {
  readonly layer: number
  readonly picks: Picks
  readonly cost: number
  /** By coupling. */
  readonly usage: Float64Array
}

export interface Pool {
  readonly columns: ReadonlyArray<Column>
  /** Adds a layer's plan; false where it is known. */
  readonly add: (layer: number, picks: Picks) => boolean
  /** Forgets columns, by their index, that are not to be kept. */
  readonly retain: (keep: (index: number) => boolean) => void
}

export const makePool = (problem: Separable): Pool => {
  let columns: Array<Column> = []
  let known = new Set<string>()
  const name = (layer: number, picks: Picks) => `${layer} ${picks.join(" ")}`
  return {
    get columns() {
      return columns
    },
    add: (layer, picks) => {
      const key = name(layer, picks)
      if (known.has(key)) return false
      const cost = costOf(problem, layer, picks)
      if (!Number.isFinite(cost)) return false
      known.add(key)
      columns.push({ layer, picks: picks.slice(), cost, usage: usageOf(problem, layer, picks) })
      return true
    },
    retain: (keep) => {
      columns = columns.filter((_, i) => keep(i))
      known = new Set(columns.map(({ layer, picks }) => name(layer, picks)))
    }
  }
}

/** What a whole unit of a coupling above its limit costs in the master, as a multiple of the largest cost there. */
export const PENALTY = 1e3

/**
 * The mix of columns of least cost, costs multiplied by `scale`: a layer's weights add up to 1. The last columns are what
 * couplings are exceeded by, in their units, at a penalty.
 */
export const masterOf = (
  problem: Separable,
  columns: ReadonlyArray<Column>,
  scale: number,
  penalty: number
): Program => {
  const { couplings, layers } = problem
  const all = Array.from(columns, (_, i) => i)
  const byLayer = Array.from({ length: layers }, (): Array<number> => [])
  columns.forEach(({ layer }, i) => byLayer[layer]?.push(i))
  const rows: Array<Row> = byLayer.map((own) => ({
    columns: own,
    values: own.map(() => 1),
    lower: 1,
    upper: 1
  }))
  couplings.forEach(({ most, unit }, k) => {
    rows.push({
      columns: [...all, columns.length + k],
      values: [...columns.map(({ usage }) => (usage[k] ?? 0) / unit), -1],
      lower: -Infinity,
      upper: most / unit
    })
  })
  const total = columns.length + couplings.length
  return {
    cost: Float64Array.from({ length: total }, (_, i) =>
      i < columns.length ? (columns[i]?.cost ?? 0) * scale : penalty
    ),
    most: new Float64Array(total).fill(Infinity),
    rows
  }
}
