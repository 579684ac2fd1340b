import { Data } from "effect"

/** A stage failed, with the node (and shard) it failed in. */
export class StageFailed extends Data.TaggedError("StageFailed")<{
  readonly node: string
  readonly shard?: string
  readonly cause: unknown
}> {
  override get message() {
    const what = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `stage ${this.node}${this.shard === undefined ? "" : ` (shard ${this.shard})`} failed: ${what}`
  }
}

/** The engine could not key, plan or run a pipeline. */
export class EngineError extends Data.TaggedError("EngineError")<{
  readonly reason: "Code" | "Shards" | "Output" | "Unknown"
  readonly where: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}
