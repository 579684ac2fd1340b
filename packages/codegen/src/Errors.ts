import { Data } from "effect"

/** A kernel package could not be emitted. */
export class CodegenError extends Data.TaggedError("CodegenError")<{
  readonly reason: "UnsupportedPlan" | "Template"
  /** The plan's name, or the template file. */
  readonly where: string
  /** What was wrong and what to do. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}
