/**
 * An optimisation as a sum over layers that only a few rows couple: budgets, and caps on losses. With a price on each
 * row it falls into one small problem a layer.
 */
import { concerns, scaled } from "./Bounds.js"
import type { Choice, Instance } from "./Instance.js"
import type { Cap, Shifted } from "./Goal.js"

/** The sum over heads of `values` is at most `most`. */
export interface Coupling {
  /** The layer whose heads it couples; heads of all layers where undefined. */
  readonly layer: number | undefined
  /** By layer, as `Separable.cost`; undefined for layers that it does not couple. */
  readonly values: ReadonlyArray<Float64Array | undefined>
  readonly most: number
  /** Positive; sums are compared as shares of it. */
  readonly unit: number
}

export interface Separable {
  readonly layers: number
  /** Heads a layer. */
  readonly heads: number
  /** By layer: the instance's options that some head of the layer may take. */
  readonly options: ReadonlyArray<Int32Array>
  /** By layer: cost of the layer's r-th option for its head h at r · heads + h; infinite where it is ruled out. */
  readonly cost: ReadonlyArray<Float64Array>
  readonly couplings: ReadonlyArray<Coupling>
  /** The most different options a layer; at least `heads` where there is no limit. */
  readonly limit: number
}

/**
 * @param left options of each head that may be in a plan worth finding
 * @param objective not negative
 */
export const separable = (
  instance: Instance,
  left: ReadonlyArray<ReadonlyArray<number>>,
  objective: Shifted,
  caps: ReadonlyArray<Cap>
): Separable => {
  const { layers, headsPerLayer: heads } = instance
  const width = instance.options.length
  const options = Array.from({ length: layers }, (_, layer) =>
    Int32Array.from(new Set(left.slice(layer * heads, (layer + 1) * heads).flat())).sort()
  )
  const tableOf = (own: Int32Array, layer: number, value: (head: number, option: number) => number) => {
    const values = new Float64Array(own.length * heads)
    for (const [r, option] of own.entries())
      for (let h = 0; h < heads; h++) values[r * heads + h] = value(layer * heads + h, option)
    return values
  }
  const table = (value: (head: number, option: number) => number): ReadonlyArray<Float64Array> =>
    options.map((own, layer) => tableOf(own, layer, value))
  const allowed = left.map((kept) => new Set(kept))
  const couplings: Array<Coupling> = []
  for (const bound of instance.budgets) {
    const used = new Set(options.flatMap((own, layer) => (concerns(bound, layer) ? [...own] : [])))
    const { cost, least, most } = scaled(bound, used)
    if ([...used].every((option) => cost(option) === 0)) continue
    const spent = (sign: number) =>
      options.map((own, layer) =>
        concerns(bound, layer) ? tableOf(own, layer, (_, option) => sign * cost(option)) : undefined
      )
    const { layer } = bound
    couplings.push({ layer, values: spent(1), most, unit: Math.max(most, 1) })
    if (least > 0) couplings.push({ layer, values: spent(-1), most: -least, unit: Math.max(least, 1) })
  }
  for (const { shifted, most } of caps) {
    if (most > 0)
      couplings.push({
        layer: undefined,
        values: table((head, option) => shifted.values[head * width + option] ?? 0),
        most,
        unit: most
      })
  }
  return {
    layers,
    heads,
    options,
    cost: table((head, option) =>
      allowed[head]?.has(option) === true ? (objective.values[head * width + option] ?? 0) : Infinity
    ),
    couplings,
    limit: Math.min(instance.maxRulesPerLayer ?? heads, heads)
  }
}

/** Which of its layer's options each head takes, layer by layer: a choice by other numbers. */
export type Picks = Int16Array

/** The cost of one layer's picks, added up in the order of its heads. */
export const costOf = (problem: Separable, layer: number, picks: Picks): number =>
  sumOf(problem.cost[layer], picks, problem.heads)

/** What one layer's picks take of each coupling. */
export const usageOf = (problem: Separable, layer: number, picks: Picks): Float64Array =>
  Float64Array.from(problem.couplings, ({ values }) => sumOf(values[layer], picks, problem.heads))

const sumOf = (values: Float64Array | undefined, picks: Picks, heads: number): number => {
  let sum = 0
  if (values === undefined) return sum
  for (let h = 0; h < heads; h++) sum += values[(picks[h] ?? 0) * heads + h] ?? 0
  return sum
}

/** The layer's part of picks for all layers. */
export const layerOf = (problem: Separable, picks: Picks, layer: number): Picks =>
  picks.subarray(layer * problem.heads, (layer + 1) * problem.heads)

export const toChoice = (problem: Separable, picks: Picks): Choice =>
  Int32Array.from(picks, (r, head) => problem.options[Math.floor(head / problem.heads)]?.[r] ?? 0)

/** `undefined` where the choice takes an option that is ruled out. */
export const toPicks = (problem: Separable, choice: Choice): Picks | undefined => {
  const picks = Int16Array.from(
    choice,
    (option, head) => problem.options[Math.floor(head / problem.heads)]?.indexOf(option) ?? -1
  )
  if (picks.includes(-1)) return undefined
  for (let layer = 0; layer < problem.layers; layer++)
    if (!Number.isFinite(costOf(problem, layer, layerOf(problem, picks, layer)))) return undefined
  return picks
}
