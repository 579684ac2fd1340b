import { Data } from "effect"

/** A corpus could not be read, or no calibration set could be made of it. */
export class CalibrationError extends Data.TaggedError("CalibrationError")<{
  readonly reason: "NoFiles" | "InvalidFile" | "MissingColumn" | "EmptyDocument" | "NoItems" | "NoTemplate"
  /** The file, item or length. */
  readonly where: string
  /** What was wrong and what to do. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}
