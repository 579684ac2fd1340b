import { Data } from "effect"

/** Why no plan was made. */
export class OptimizerError extends Data.TaggedError("OptimizerError")<{
  /**
   * `Infeasible`: no plan meets the budget. `InvalidInfluence`: the losses are not complete or not numbers.
   * `InvalidParams`: parameters that contradict the influence or each other. `Solver`: the solver failed. `TimeLimit`: it
   * had not time enough to find any plan.
   */
  readonly reason: "Infeasible" | "InvalidInfluence" | "InvalidParams" | "Solver" | "TimeLimit"
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.detail
  }
}

/** A time limit that passed before any plan was found. */
export const lateError = (seconds: number): OptimizerError =>
  new OptimizerError({
    reason: "TimeLimit",
    detail: `no plan was found within ${seconds} s; raise timeLimit`
  })
