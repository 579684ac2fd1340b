import { Data } from "effect"
import type { AttentionShape, PlannedLength } from "../Plan.js"
import type { Geometry } from "../Rule.js"

/** A file that cannot be read as a plan, or a plan that cannot be written as one. */
export class PlanFormatError extends Data.TaggedError("PlanFormatError")<{
  /**
   * `Malformed`: not the format at all. `WrongShape`: the format, but not for this model. `BadValue`: a number that no
   * rule can have. `NotExpressible`: a plan that the format cannot say.
   */
  readonly reason: "Malformed" | "WrongShape" | "BadValue" | "NotExpressible"
  readonly format: "alpha/beta" | "CSV" | "DuoAttention" | "FlexAttention"
  /** What is wrong, where, and what to do. */
  readonly detail: string
}> {
  override get message(): string {
    return this.reason === "NotExpressible"
      ? `this plan has no ${this.format} form: ${this.detail}`
      : `not a plan in ${this.format} form for this model: ${this.detail}`
  }
}

/** What foreign plan files leave unsaid. */
export interface PlanContext {
  readonly name: string
  readonly model: AttentionShape
  readonly geometry: Geometry
  /** Default: `prompt+new`, as the runtimes of these formats size their caches. */
  readonly length?: PlannedLength
}
