import { Data } from "effect"

/** Why no plan was made. */
export class OptimizerError extends Data.TaggedError("OptimizerError")<{
  /**
   * `Infeasible`: no plan meets the budget. `InvalidInfluence`: the losses are not complete or not numbers.
   * `InvalidParams`: parameters that contradict the influence or each other. `Solver`: the solver gave up or failed.
   */
  readonly reason: "Infeasible" | "InvalidInfluence" | "InvalidParams" | "Solver"
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.detail
  }
}

/** A time limit that passed before any plan was found. */
export const lateError = (seconds: number): OptimizerError =>
  new OptimizerError({ reason: "Solver", detail: `no plan was found within ${seconds} s; raise timeLimit` })
