/**
 * The least largest loss over the lengths, by ε-constraint problems: one length's loss is minimised while the others stay
 * under a level. That proves that no plan is below both the level and the loss's bound, at all lengths.
 */
import { Effect } from "effect"
import type { OptimizerError } from "./Errors.js"
import { type Found, found, onlyAt, orLate, type Search } from "./Search.js"
import { timer } from "./Timer.js"

/** Levels tried; far more than bisection needs. */
export const LEVELS = 60
/** Losses closer than this, relative or as shares of their ranges, are one: caps are no finer. */
const GRAIN = 1e-9
const LEAST_GRAIN = 4e-12
/** Levels that follow the losses seen so far, before one that may end the search. */
const GUESSES = 4

/** How far a level is from where the minimised loss reaches it. */
interface Seen {
  readonly level: number
  /** Undefined where no plan is under the level. */
  readonly excess: number | undefined
}

/** The level to try between two of which the first is too low: where the excess would vanish if it were linear. */
const between = (low: Seen, high: Seen): number => {
  const width = high.level - low.level
  const share =
    low.excess === undefined || high.excess === undefined || low.excess === high.excess
      ? 0.5
      : low.excess / (low.excess - high.excess)
  return low.level + width * Math.min(Math.max(share, 0.02), 0.98)
}

/**
 * Losses count as `search.weights` say. Of plans alike in the largest, the least sum.
 *
 * @param first any plan
 * @param bound what no plan's weighted sum is below
 */
export const minimax = (search: Search, first: Found, bound: number): Effect.Effect<Found, OptimizerError> =>
  Effect.gen(function* () {
    const { instance, limits, weights } = search
    const { elapsed, late, left } = yield* timer(limits.timeLimit)
    const shares = (one: Found) => one.losses.map((loss, o) => loss * (weights[o] ?? 0))
    const worst = (one: Found) => Math.max(...shares(one))
    // The minimised length: another that decides is only capped, which takes more levels but proves as much.
    const main = shares(first).indexOf(worst(first))
    const others = shares(first).filter((_, o) => o !== main)
    let best = first
    // The largest is not below the mean.
    let floor = bound / instance.lengths.length
    let low: Seen = { level: floor, excess: undefined }
    let high: Seen = { level: worst(first), excess: Math.max(...others) - worst(first) }
    const grain = (top: number) => Math.max(Math.max(limits.gap, GRAIN) * Math.abs(top), LEAST_GRAIN)
    const open = () => worst(best) - floor > grain(worst(best))
    for (let tried = 0; tried < LEVELS && open() && !late(); tried++) {
      const top = worst(best)
      const proof = top - 0.9 * grain(top)
      const level = tried % (GUESSES + 1) === GUESSES ? proof : Math.min(between(low, high), proof)
      const answer = search.solve(
        {
          weights: onlyAt(instance, main, weights[main] ?? 0),
          caps: weights.map((weight, o) => (o === main ? undefined : level / weight))
        },
        `length ${instance.lengths[main]}, others up to ${Number(level.toPrecision(4))}`,
        best.choice,
        { ...limits, timeLimit: left(), gap: limits.gap / 20 }
      )
      const solution = yield* orLate(answer)
      if (solution === "late") break
      floor = Math.max(floor, solution === undefined ? level : Math.min(level, solution.bound))
      if (solution === undefined) {
        low = { level, excess: undefined }
        continue
      }
      const one = found(instance, solution, "")
      if (worst(one) < worst(best)) best = one
      const excess = (shares(one)[main] ?? 0) - level
      if (excess > 0) low = { level, excess }
      else high = { level, excess }
    }
    const ties = yield* orLate(
      search.solve({ weights, caps: weights.map((weight) => worst(best) / weight) }, "ties", best.choice)
    )
    const settled = ties === undefined || ties === "late" ? best : found(instance, ties, "")
    const value = worst(settled)
    return {
      ...settled,
      objective: "largest of the losses as shares of their ranges",
      solution: {
        choice: settled.choice,
        value,
        bound: Math.min(floor, value),
        proven: !open(),
        seconds: elapsed()
      }
    }
  })
