import { RuntimeError } from "@tessera/runtime"
import { Data } from "effect"

export const NAME = "runtime-torch"

export const failed = (reason: RuntimeError["reason"], detail: string, cause?: unknown): RuntimeError =>
  new RuntimeError({ reason, runtime: NAME, detail, ...(cause === undefined ? {} : { cause }) })

/** A Python environment could not be found or made. */
export class EnvironmentError extends Data.TaggedError("EnvironmentError")<{
  readonly reason: "NoPython" | "NoNetwork" | "NoSpace" | "Unsupported" | "Failed"
  /** What was wrong and what to do. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return this.detail
  }
}
