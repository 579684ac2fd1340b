import { Data } from "effect"

/** An item that was asked for cannot be made. */
export class DemoError extends Data.TaggedError("DemoError")<{
  readonly reason: "LengthTooShort"
  /** What was wrong and what to do. */
  readonly detail: string
}> {
  override get message() {
    return this.detail
  }
}
