import { Data } from "effect"

/**
 * A stage failed, with the node (and shard) it failed in. A service that a stage needs and that could not be built
 * counts as the failure of that stage.
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the type of the cause is the point
export class StageFailed<E = unknown> extends Data.TaggedError("StageFailed")<{
  readonly node: string
  readonly shard?: string
  readonly cause: unknown
}> {
  /** What the stage, its fingerprint or the pipeline's layer failed with. */
  declare readonly cause: E

  override get message() {
    const what = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `stage ${this.node}${this.shard === undefined ? "" : ` (shard ${this.shard})`} failed: ${what}`
  }
}

/**
 * The engine could not key, plan or run a pipeline.
 *
 * - `Code`: the module of a stage cannot be bundled, so there is no key.
 * - `Shards`: sharded inputs do not match, or something that is no table was to be gathered.
 * - `Output`: a stage returned something else than its output ports say.
 * - `Defect`: a stage threw instead of failing: a bug in it.
 * - `Unknown`: an input of the node to explain is not computed yet.
 * - `Refused`: what should be accepted is more than an edit of code.
 */
export class EngineError extends Data.TaggedError("EngineError")<{
  readonly reason: "Code" | "Shards" | "Output" | "Defect" | "Unknown" | "Refused"
  readonly where: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}
