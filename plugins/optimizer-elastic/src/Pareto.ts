/**
 * Points of the Pareto front: the best at each length, and the ε-constraint grid between them.
 */
import { Effect } from "effect"
import type { OptimizerError } from "./Errors.js"
import { together } from "./Feasibility.js"
import { type Choice, losses } from "./Instance.js"
import { type Found, found, type Front, noCaps, onlyAt, orLate, type Search } from "./Search.js"

/**
 * In the ε-constraint problems the other objectives count this share of the first: enough that none can be improved for
 * free, little enough that the first decides.
 */
const AUGMENTATION = 1e-3

/** Every combination of one entry of each list; the first entries of all lists first. */
const product = <A>(lists: ReadonlyArray<ReadonlyArray<A>>): ReadonlyArray<ReadonlyArray<A>> =>
  lists.reduce<ReadonlyArray<ReadonlyArray<A>>>(
    (all, list) => all.flatMap((some) => list.map((item) => [...some, item])),
    [[]]
  )

export interface Payoff {
  /** By objective: of the plans that are best there, the one that is best at the others. */
  readonly found: ReadonlyArray<Found>
  /** By objective: what no plan loses less than. */
  readonly low: ReadonlyArray<number>
}

/** The best plan at each length. */
export const payoffOf = (
  { instance, solve, weights }: Search,
  start: Choice
): Effect.Effect<Payoff, OptimizerError> =>
  Effect.gen(function* () {
    const all: Array<Found> = []
    const low: Array<number> = []
    for (const [o, length] of instance.lengths.entries()) {
      const unit = 1 / (instance.range[o] ?? 1)
      const alone = yield* solve(
        { weights: onlyAt(instance, o, unit), caps: noCaps(instance) },
        `length ${length}`,
        start
      )
      if (alone === undefined) return yield* together(instance)
      const rest = yield* solve(
        { weights: weights.with(o, 0), caps: noCaps(instance).with(o, losses(instance, alone.choice)[o]) },
        `length ${length}, ties`,
        alone.choice
      )
      all.push(found(instance, { ...alone, choice: (rest ?? alone).choice }, `loss at ${length}`))
      low.push(alone.bound / unit)
    }
    return { found: all, low }
  })

interface Solved {
  readonly caps: ReadonlyArray<number>
  /** Undefined where no plan stays under the caps. */
  readonly losses: ReadonlyArray<number> | undefined
}

/**
 * The plans of all problems that another's answer does not settle.
 *
 * @param payoff by objective, the best plan there
 * @param points of each objective, ends included
 */
export const epsilonGrid = (
  { instance, solve }: Search,
  payoff: ReadonlyArray<Found>,
  points: number
): Effect.Effect<Front, OptimizerError> =>
  Effect.gen(function* () {
    const all: Array<Found> = []
    let late = 0
    const low = instance.lengths.map((_, o) => Math.min(...payoff.map((one) => one.losses[o] ?? 0)))
    const high = instance.lengths.map((_, o) => Math.max(...payoff.map((one) => one.losses[o] ?? 0)))
    const width = instance.lengths.map((_, o) => (high[o] ?? 0) - (low[o] ?? 0))
    // The upper ends of the intervals, loosest first. A lower end would only admit plans that another one beats.
    const levels = instance.lengths.map((_, o) =>
      (width[o] ?? 0) > 0
        ? Array.from({ length: points - 1 }, (_, j) =>
            j === 0 ? (high[o] ?? 0) : (low[o] ?? 0) + ((width[o] ?? 0) * (points - 1 - j)) / (points - 1)
          )
        : [high[o] ?? 0]
    )
    for (const [p, length] of instance.lengths.entries()) {
      const others = instance.lengths.map((_, o) => o).filter((o) => o !== p)
      // A looser problem's optimum that stays under tighter caps is the tighter problem's optimum too.
      const solved: Array<Solved> = [{ caps: others.map((o) => high[o] ?? 0), losses: payoff[p]?.losses }]
      for (const caps of product(others.map((o) => levels[o] ?? []))) {
        const known = solved.find(
          (one) =>
            one.caps.every((cap, i) => cap >= (caps[i] ?? 0)) &&
            (one.losses === undefined || others.every((o, i) => (one.losses?.[o] ?? 0) <= (caps[i] ?? 0)))
        )
        if (known !== undefined) continue
        const full = instance.lengths.map((_, o) => caps[others.indexOf(o)])
        const weights = instance.lengths.map((_, o) => {
          const unit = (width[o] ?? 0) > 0 ? (width[o] ?? 1) : (instance.range[o] ?? 1)
          return o === p ? 1 / unit : AUGMENTATION / unit
        })
        const text = others.map((o, i) => `${caps[i]} at ${instance.lengths[o]}`).join(" and ")
        const solution = yield* orLate(solve({ weights, caps: full }, `length ${length} in the grid`))
        if (solution === "late") {
          late++
          continue
        }
        const one = solution && found(instance, solution, `loss at ${length} with at most ${text}`)
        if (one !== undefined) all.push(one)
        solved.push({ caps, losses: one?.losses })
      }
    }
    return late === 0
      ? { found: all }
      : { found: all, explored: `not all of the grid: ${late} problems found no plan in time` }
  })
