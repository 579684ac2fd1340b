/**
 * What the ways of looking for plans share: problems are solved one after the other, and each answer is kept.
 */
import { Effect } from "effect"
import type { OptimizerError } from "./Errors.js"
import type { Goal, Solution } from "./Goal.js"
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

export interface Front {
  readonly found: ReadonlyArray<Found>
  /** How much of the front is known, for people; nothing where what was asked for is. */
  readonly explored?: string
}

export interface Search {
  readonly instance: Instance
  /** By objective: what a loss counts in sums. */
  readonly weights: ReadonlyArray<number>
  readonly limits: Limits
  /** Solves a problem and says which; `undefined` where no plan stays under its caps. */
  readonly solve: (
    goal: Goal,
    label: string,
    start?: Choice,
    limits?: Limits
  ) => Effect.Effect<Solution | undefined, OptimizerError>
}

/** `late` instead of a failure where the time limit passed before any plan was found. */
export const orLate = <A>(
  solved: Effect.Effect<A, OptimizerError>
): Effect.Effect<A | "late", OptimizerError> =>
  Effect.catchIf(
    solved,
    ({ reason }) => reason === "TimeLimit",
    () => Effect.succeed("late" as const)
  )

export const found = (instance: Instance, solution: Solution, objective: string): Found => {
  const choice = polish(instance, solution.choice)
  return { choice, losses: losses(instance, choice), objective, solution }
}

export const noCaps = (instance: Instance): Goal["caps"] => instance.lengths.map(() => undefined)

export const onlyAt = (instance: Instance, objective: number, weight: number): ReadonlyArray<number> =>
  instance.lengths.map((_, o) => (o === objective ? weight : 0))

/** The value by which plans are ordered. */
export const aggregate = (weights: ReadonlyArray<number>, values: ReadonlyArray<number>): number =>
  values.reduce((sum, loss, o) => sum + loss * (weights[o] ?? 0), 0)

const dominatedBy = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  b.every((loss, o) => loss <= (a[o] ?? 0)) && b.some((loss, o) => loss < (a[o] ?? 0))

/** Drops dominated plans and all but one of equal losses; orders by `aggregate`, then by losses. */
export const sift = ({ instance, weights }: Search, all: ReadonlyArray<Found>): ReadonlyArray<Found> => {
  const key = (one: Found) => [
    aggregate(weights, one.losses),
    ...one.losses,
    total(instance, instance.beyond, one.choice),
    ...one.choice
  ]
  const ordered = all
    .map((one) => ({ one, key: key(one) }))
    .sort((a, b) => compareNumbers(a.key, b.key))
    .map(({ one }) => one)
  return ordered.filter(
    (one, i) =>
      !ordered.some((other) => dominatedBy(one.losses, other.losses)) &&
      !ordered.slice(0, i).some((other) => compareNumbers(other.losses, one.losses) === 0)
  )
}
