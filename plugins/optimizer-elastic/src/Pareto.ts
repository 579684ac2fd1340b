/**
 * The plans to choose from: single optima, the aggregated optimum and the ε-constraint grid between them, without what
 * another plan beats at every length.
 */
import { Effect } from "effect"
import type { OptimizerError } from "./Errors.js"
import { together } from "./Feasibility.js"
import type { Goal, Minimiser, Solution } from "./Goal.js"
import type { Limits } from "./Highs.js"
import { type Choice, type Instance, losses, total } from "./Instance.js"
import { polish } from "./Polish.js"
import { compareNumbers } from "./Rules.js"

export interface Found {
  readonly choice: Choice
  /** By objective. */
  readonly losses: ReadonlyArray<number>
  /** The problem it solves, for people. */
  readonly objective: string
  readonly solution: Solution
}

export interface Search {
  readonly objectives: "pareto" | "sum"
  readonly points: number
  readonly limits: Limits
  /** Told before each problem. */
  readonly report: (done: number, total: number, label: string) => Effect.Effect<void>
}

/**
 * In the ε-constraint problems the other objectives count this share of the first: enough that none can be improved for
 * free, little enough that the first decides.
 */
const AUGMENTATION = 1e-3

const zeros = (instance: Instance): ReadonlyArray<number> => instance.lengths.map(() => 0)

/** Every combination of one entry of each list; the first entries of all lists first. */
const product = <A>(lists: ReadonlyArray<ReadonlyArray<A>>): ReadonlyArray<ReadonlyArray<A>> =>
  lists.reduce<ReadonlyArray<ReadonlyArray<A>>>(
    (all, list) => all.flatMap((some) => list.map((item) => [...some, item])),
    [[]]
  )

/** The value by which plans are ordered: losses as shares of their length's range, added up. */
export const aggregate = (instance: Instance, values: ReadonlyArray<number>): number =>
  values.reduce((sum, loss, o) => sum + loss / (instance.range[o] ?? 1), 0)

const dominatedBy = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  b.every((loss, o) => loss <= (a[o] ?? 0)) && b.some((loss, o) => loss < (a[o] ?? 0))

/** Drops dominated plans and all but one of equal losses; orders by `aggregate`, then by losses. */
const sift = (instance: Instance, found: ReadonlyArray<Found>): ReadonlyArray<Found> => {
  const key = (one: Found) => [
    aggregate(instance, one.losses),
    ...one.losses,
    total(instance, instance.beyond, one.choice),
    ...one.choice
  ]
  const ordered = found
    .map((one) => ({ one, key: key(one) }))
    .sort((a, b) => compareNumbers(a.key, b.key))
    .map(({ one }) => one)
  return ordered.filter(
    (one, i) =>
      !ordered.some((other) => dominatedBy(one.losses, other.losses)) &&
      !ordered.slice(0, i).some((other) => compareNumbers(other.losses, one.losses) === 0)
  )
}

/**
 * The plans of an instance whose budgets can each be met. With the gap at 0 and no time limit reached, no plan
 * whatsoever is better than a returned one at one length and no worse at all others.
 */
export const search = (
  minimise: Minimiser,
  instance: Instance,
  options: Search
): Effect.Effect<ReadonlyArray<Found>, OptimizerError> =>
  Effect.gen(function* () {
    const objectives = instance.lengths.length
    const single = objectives === 1
    const pareto = options.objectives === "pareto" && !single
    const grid = pareto ? objectives * (options.points - 1) ** (objectives - 1) : 0
    const problems = 1 + (pareto ? objectives * 2 : 0) + grid
    const found: Array<Found> = []
    let done = 0

    const solve = (goal: Goal, label: string, start?: Choice) =>
      Effect.zipRight(options.report(done++, problems, label), minimise(goal, options.limits, start))
    const keep = (solution: Solution, objective: string): Found => {
      const choice = polish(instance, solution.choice)
      const one = { choice, losses: losses(instance, choice), objective, solution }
      found.push(one)
      return one
    }
    const none: Goal["caps"] = instance.lengths.map(() => undefined)

    const sum = yield* solve(
      { weights: instance.range.map((range) => 1 / range), caps: none },
      single ? `length ${instance.lengths[0]}` : "all lengths"
    )
    if (sum === undefined) return yield* together(instance)
    keep(sum, single ? `loss at ${instance.lengths[0]}` : "sum of the losses as shares of their ranges")

    if (pareto) {
      const payoff: Array<Found> = []
      for (const [o, length] of instance.lengths.entries()) {
        const alone = yield* solve(
          { weights: zeros(instance).with(o, 1 / (instance.range[o] ?? 1)), caps: none },
          `length ${length}`,
          sum.choice
        )
        if (alone === undefined) return yield* together(instance)
        // Of the plans that are best at this length, the one that is best at the others.
        const rest = yield* solve(
          {
            weights: instance.range.map((range, other) => (other === o ? 0 : 1 / range)),
            caps: none.with(o, losses(instance, alone.choice)[o])
          },
          `length ${length}, ties`,
          alone.choice
        )
        payoff.push(keep({ ...alone, choice: (rest ?? alone).choice }, `loss at ${length}`))
      }
      yield* epsilonGrid(instance, options.points, payoff, solve, keep)
    }
    yield* options.report(problems, problems, "done")
    return sift(instance, found)
  })

interface Solved {
  readonly caps: ReadonlyArray<number>
  /** Undefined where no plan stays under the caps. */
  readonly losses: ReadonlyArray<number> | undefined
}

const epsilonGrid = (
  instance: Instance,
  points: number,
  payoff: ReadonlyArray<Found>,
  solve: (goal: Goal, label: string) => Effect.Effect<Solution | undefined, OptimizerError>,
  keep: (solution: Solution, objective: string) => Found
): Effect.Effect<void, OptimizerError> =>
  Effect.gen(function* () {
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
        const solution = yield* solve({ weights, caps: full }, `length ${length} in the grid`)
        solved.push({
          caps,
          losses:
            solution === undefined
              ? undefined
              : keep(solution, `loss at ${length} with at most ${text}`).losses
        })
      }
    }
  })
