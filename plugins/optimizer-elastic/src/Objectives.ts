/**
 * What is looked for under each of the objectives that can be asked for.
 */
import { Effect } from "effect"
import { adaptiveFront } from "./Adaptive.js"
import type { OptimizerError } from "./Errors.js"
import { together } from "./Feasibility.js"
import type { Minimiser } from "./Goal.js"
import type { Limits } from "./Highs.js"
import type { Instance } from "./Instance.js"
import { LEVELS, minimax } from "./Minimax.js"
import type { ElasticParams } from "./Params.js"
import { epsilonGrid, payoffOf } from "./Pareto.js"
import { found, type Front, noCaps, type Search, sift } from "./Search.js"

/** Problems, at most. */
const problemsOf = ({ lengths }: Instance, params: ElasticParams): number => {
  const objectives = lengths.length
  if (objectives === 1 || params.objectives === "sum") return 1
  if (params.objectives === "minimax") return 2 + LEVELS
  return params.front === "grid"
    ? 1 + 2 * objectives + objectives * (params.points - 1) ** (objectives - 1)
    : 1 + 2 * objectives + params.problems
}

/**
 * The plans of an instance whose budgets can each be met. With the gap at 0 and no time limit reached, no plan
 * whatsoever is better than one of a front at one length and no worse at all others. They come in the order that the stage
 * states.
 *
 * @param weights by objective: what a loss counts in sums
 * @param report told before each problem, and at the end
 */
export const plansOf = (
  minimise: Minimiser,
  instance: Instance,
  weights: ReadonlyArray<number>,
  params: ElasticParams,
  report: (done: number, total: number, label: string) => Effect.Effect<void>
): Effect.Effect<Front, OptimizerError> =>
  Effect.gen(function* () {
    const problems = problemsOf(instance, params)
    const limits: Limits = { timeLimit: params.timeLimit, gap: params.gap }
    let done = 0
    const search: Search = {
      instance,
      weights,
      limits,
      solve: (goal, label, start, own = limits) =>
        Effect.zipRight(report(done++, problems, label), minimise(goal, own, start))
    }
    const single = instance.lengths.length === 1
    const sum = yield* search.solve(
      { weights, caps: noCaps(instance) },
      single ? `length ${instance.lengths[0]}` : "all lengths"
    )
    if (sum === undefined) return yield* together(instance)
    const first = found(
      instance,
      sum,
      single ? `loss at ${instance.lengths[0]}` : "sum of the losses as shares of their ranges"
    )
    const finish = report(problems, problems, "done")
    if (single || params.objectives === "sum") return yield* Effect.as(finish, { found: [first] })
    if (params.objectives === "minimax")
      return yield* Effect.zipLeft(
        Effect.map(minimax(search, first, sum.bound), (one) => ({ found: [one] })),
        finish
      )

    const payoff = yield* payoffOf(search, sum.choice)
    const known = [first, ...payoff.found]
    const front = yield* params.front === "grid"
      ? epsilonGrid(search, payoff.found, params.points)
      : adaptiveFront(search, known, payoff.low, params.problems)
    return yield* Effect.as(finish, { ...front, found: sift(search, [...known, ...front.found]) })
  })
