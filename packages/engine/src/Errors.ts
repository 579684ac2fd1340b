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
  /** Whether trying again may help, where the process that ran the stage has decided it. */
  readonly transient?: boolean
}> {
  /**
   * What the stage, its fingerprint or the pipeline's layer failed with. From another process it comes as plain data:
   * an `Error` with the same `_tag`, message and fields, of no class.
   */
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
 * - `Resources`: a stage needs named slots that the run has not.
 * - `Timeout`: an attempt took longer than its stage allows.
 * - `Lost`: the process that ran a stage ended without a result.
 * - `Job`: an execution cannot be written down for another process, or the other process cannot do it.
 */
export class EngineError extends Data.TaggedError("EngineError")<{
  readonly reason:
    "Code" | "Shards" | "Output" | "Defect" | "Unknown" | "Refused" | "Resources" | "Timeout" | "Lost" | "Job"
  readonly where: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}

/** Some tasks failed, and all that does not need them was done (`keepGoing`). */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the type of the failures is the point
export class RunFailed<E = unknown> extends Data.TaggedError("RunFailed")<{
  readonly run: string
  /** In the order in which they failed. */
  readonly failures: ReadonlyArray<StageFailed | EngineError>
  /** Nodes that could not run, or not all of whose shards could, for want of what failed. */
  readonly skipped: ReadonlyArray<string>
}> {
  declare readonly failures: ReadonlyArray<StageFailed<E> | EngineError>

  override get message() {
    const count = this.failures.length
    const lines = this.failures.map((failure) => `  ${failure.message}`)
    const skipped =
      this.skipped.length === 0 ? [] : [`  not run for want of them: ${this.skipped.join(", ")}`]
    return [`${count} task${count === 1 ? "" : "s"} failed:`, ...lines, ...skipped].join("\n")
  }
}
