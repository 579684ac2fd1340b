import { Data } from "effect"

/** Plans could not be measured or chosen. */
export class ValidatorError extends Data.TaggedError("ValidatorError")<{
  readonly reason: "EmptyAnswer" | "DuplicatePlan" | "NoMeasurements" | "NotFinite" | "LengthTooShort"
  readonly detail: string
}> {
  override get message() {
    return this.detail
  }
}
