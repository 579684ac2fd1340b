import { Data } from "effect"

/** A picture that cannot be drawn. */
export class ReportError extends Data.TaggedError("ReportError")<{
  /** `NothingToDraw`: the data hold nothing that the picture shows. `Renderer`: vega failed; a bug here. */
  readonly reason: "NothingToDraw" | "Renderer"
  /** What is wrong, where, and what to do. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return this.detail
  }
}
