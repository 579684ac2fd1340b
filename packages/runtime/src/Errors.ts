import { Data } from "effect"

/** A model folder is missing something, damaged, or of a kind that is not supported. */
export class ModelError extends Data.TaggedError("ModelError")<{
  readonly reason:
    "NotFound" | "InvalidConfig" | "UnsupportedArchitecture" | "InvalidWeights" | "InvalidTokenizer"
  /** The file. */
  readonly path: string
  /** What was wrong and what to do. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.path}: ${this.detail}`
  }
}

/** A runtime could not do what it was asked. */
export class RuntimeError extends Data.TaggedError("RuntimeError")<{
  /**
   * `Unavailable`: it cannot run here at all. `WorkerDied`, `Hung`: the process that executed ended, or had to be ended;
   * asked again it may well do it.
   */
  readonly reason:
    "InvalidRequest" | "Unsupported" | "OutOfMemory" | "Execution" | "Unavailable" | "WorkerDied" | "Hung"
  readonly runtime: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.runtime}: ${this.detail}`
  }
}
