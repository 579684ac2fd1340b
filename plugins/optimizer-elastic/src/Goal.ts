/**
 * What one problem minimises, and the shifted losses it is stated in.
 */
import type { Effect } from "effect"
import type { OptimizerError } from "./Errors.js"
import type { Limits } from "./Highs.js"
import { type Choice, type Instance, losses } from "./Instance.js"

export interface Goal {
  /** One weight per objective, not negative. */
  readonly weights: ReadonlyArray<number>
  /** The most loss allowed at an objective. */
  readonly caps: ReadonlyArray<number | undefined>
}

export interface Solution {
  readonly choice: Choice
  /** Weighted loss. */
  readonly value: number
  /** No choice has a smaller weighted loss than this. */
  readonly bound: number
  /** Whether the gap asked for was reached. */
  readonly proven: boolean
  /** Seconds that it took. */
  readonly seconds: number
}

/** Solves one problem of an instance; `undefined` where no plan meets budgets and caps. */
export interface Minimiser {
  (goal: Goal, limits: Limits, start?: Choice): Effect.Effect<Solution | undefined, OptimizerError>
}

/** Losses of a head's options above the head's least, so that all are >= 0 and the least plan costs 0. */
export interface Shifted {
  readonly values: Float64Array
  /** The sum of what was taken off. */
  readonly offset: number
}

/** The shifted losses add up to `most` at most. */
export interface Cap {
  readonly shifted: Shifted
  readonly most: number
}

/** What counts as rounding of a sum of losses. */
const EPSILON = 1e-12

const shift = (instance: Instance, values: Float64Array): Shifted => {
  const width = instance.options.length
  const shifted = new Float64Array(values.length)
  let offset = 0
  instance.kept.forEach((kept, head) => {
    const least = kept.reduce(
      (min, r) => Math.min(min, values[head * width + r] ?? 0),
      Number.POSITIVE_INFINITY
    )
    offset += least
    for (const r of kept) shifted[head * width + r] = (values[head * width + r] ?? 0) - least
  })
  return { values: shifted, offset }
}

/** The weighted losses of a goal. */
export const objectiveOf = (instance: Instance, { weights }: Goal): Shifted => {
  const result = new Float64Array(instance.heads * instance.options.length)
  instance.loss.forEach((values, o) => {
    const weight = weights[o] ?? 0
    if (weight !== 0) values.forEach((value, i) => (result[i] = (result[i] ?? 0) + weight * value))
  })
  return shift(instance, result)
}

/** The caps of a goal, each with a billionth of slack for rounding; `undefined` where one is below every plan. */
export const capsOf = (instance: Instance, goal: Goal): ReadonlyArray<Cap> | undefined => {
  const caps: Array<Cap> = []
  for (const [o, cap] of goal.caps.entries()) {
    const values = instance.loss[o]
    if (cap === undefined || values === undefined) continue
    const shifted = shift(instance, values)
    const slack = EPSILON * (instance.range[o] ?? 1) + 1e-15 * Math.abs(shifted.offset)
    if (cap - shifted.offset < -slack) return undefined
    caps.push({ shifted, most: Math.max(cap - shifted.offset, 0) + slack })
  }
  return caps
}

/** The options of each head that can be in a plan whose shifted sums stay within limits. */
export const within = (
  instance: Instance,
  limits: ReadonlyArray<Cap>
): ReadonlyArray<ReadonlyArray<number>> =>
  instance.kept.map((kept, head) =>
    kept.filter((r) =>
      limits.every(({ shifted, most }) => (shifted.values[head * instance.options.length + r] ?? 0) <= most)
    )
  )

/** The most a plan can cost. */
export const ceilingOf = (instance: Instance, objective: Shifted): number =>
  instance.kept.reduce(
    (sum, kept, head) =>
      sum + Math.max(...kept.map((r) => objective.values[head * instance.options.length + r] ?? 0)),
    0
  )

/** Shifted cost of a choice. */
export const shiftedSum = (instance: Instance, { values }: Shifted, choice: Choice): number =>
  choice.reduce((sum, r, head) => sum + (values[head * instance.options.length + r] ?? 0), 0)

export const weightedLoss = (instance: Instance, goal: Goal, choice: Choice): number =>
  losses(instance, choice).reduce((sum, loss, o) => sum + loss * (goal.weights[o] ?? 0), 0)

/** A choice that is not below `bound`, of shifted losses, by how much it may be improved; they count as 0 below 0. */
export const solutionOf = (
  instance: Instance,
  goal: Goal,
  objective: Shifted,
  choice: Choice,
  bound: number,
  proven: boolean,
  seconds: number
): Solution => {
  const value = weightedLoss(instance, goal, choice)
  const above = shiftedSum(instance, objective, choice) - Math.max(bound, 0)
  return { choice, value, bound: value - Math.max(above, 0), proven, seconds }
}
