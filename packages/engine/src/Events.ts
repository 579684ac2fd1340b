/**
 * What a run tells: appended to `runs/<id>.jsonl` and streamed to whoever watches.
 */
import { Artifact } from "@tessera/store"
import { Schema } from "effect"

const event = <Tag extends string, F extends Schema.Struct.Fields>(tag: Tag, fields: F) =>
  Schema.TaggedStruct(tag, { at: Schema.String, ...fields })

/** One node, or one shard of it. */
const where = { node: Schema.String, shard: Schema.optional(Schema.String) }

export const RunStarted = event("RunStarted", {
  run: Schema.String,
  pipeline: Schema.String,
  params: Schema.Unknown,
  /** Overrides of node parameters. */
  set: Schema.optional(Schema.Unknown),
  nodes: Schema.Array(Schema.String)
})
/** A node learned how many shards it has. */
export const NodeSharded = event("NodeSharded", { node: Schema.String, shards: Schema.Array(Schema.String) })
export const TaskCached = event("TaskCached", {
  ...where,
  key: Schema.String,
  outputs: Schema.Record({ key: Schema.String, value: Artifact })
})
export const TaskStarted = event("TaskStarted", { ...where, key: Schema.String, reason: Schema.String })
export const TaskProgress = event("TaskProgress", {
  ...where,
  done: Schema.Number,
  total: Schema.optional(Schema.Number),
  unit: Schema.String,
  label: Schema.optional(Schema.String)
})
export const TaskCommitted = event("TaskCommitted", {
  ...where,
  key: Schema.String,
  millis: Schema.Number,
  outputs: Schema.Record({ key: Schema.String, value: Artifact })
})
/** An attempt failed in a way that may pass: the next one starts after a pause. */
export const TaskRetried = event("TaskRetried", {
  ...where,
  key: Schema.String,
  /** The attempt that failed, from 1. */
  attempt: Schema.Number,
  error: Schema.String,
  pauseMillis: Schema.Number
})
export const TaskFailed = event("TaskFailed", { ...where, key: Schema.String, error: Schema.String })
/** A node, or all of it that depends on what failed, is left out (`keepGoing`). */
export const NodeSkipped = event("NodeSkipped", { node: Schema.String, because: Schema.Array(Schema.String) })
/** Something a person should know: a damaged blob recomputed, a lease taken over. */
export const Warning = event("Warning", { node: Schema.optional(Schema.String), detail: Schema.String })
export const RunFinished = event("RunFinished", {
  run: Schema.String,
  outcome: Schema.Literal("succeeded", "failed", "interrupted"),
  millis: Schema.Number,
  targets: Schema.Record({ key: Schema.String, value: Artifact })
})

export const RunEvent = Schema.Union(
  RunStarted,
  NodeSharded,
  TaskCached,
  TaskStarted,
  TaskProgress,
  TaskCommitted,
  TaskRetried,
  TaskFailed,
  NodeSkipped,
  Warning,
  RunFinished
)
export type RunEvent = typeof RunEvent.Type
