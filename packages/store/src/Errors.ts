import { Data } from "effect"

/** The store could not do what it was asked; nothing half-written remains visible. */
export class StoreError extends Data.TaggedError("StoreError")<{
  readonly reason: "NotFound" | "Corrupt" | "ReadOnly" | "NoSpace" | "Permission" | "Invalid" | "Io"
  /** The file or digest. */
  readonly path: string
  /** What was wrong and what to do. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.path}: ${this.detail}`
  }
}
