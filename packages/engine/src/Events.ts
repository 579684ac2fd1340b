/**
 * What a run tells: appended to `runs/<id>.jsonl`, a JSON object a line, and streamed to whoever watches. `eventSchema`
 * is the contract for readers: fields may be added, none changes its meaning.
 */
import { Artifact } from "@tessera/store"
import { JSONSchema, Schema } from "effect"

const Time = Schema.String.annotations({ description: "ISO 8601, UTC" })

const event = <Tag extends string, F extends Schema.Struct.Fields>(
  tag: Tag,
  description: string,
  fields: F
) => Schema.TaggedStruct(tag, { at: Time, ...fields }).annotations({ description })

/** One node, or one shard of it. */
const where = { node: Schema.String, shard: Schema.optional(Schema.String) }

export const RunStarted = event(
  "RunStarted",
  "A run began. `set`: overrides of node parameters; `nodes`: producers before consumers.",
  {
    run: Schema.String,
    pipeline: Schema.String,
    params: Schema.Unknown,
    set: Schema.optional(Schema.Unknown),
    nodes: Schema.Array(Schema.String)
  }
)
export const NodeSharded = event("NodeSharded", "A node learned which shards it has.", {
  node: Schema.String,
  shards: Schema.Array(Schema.String)
})
export const TaskCached = event("TaskCached", "A result was taken from the store.", {
  ...where,
  key: Schema.String,
  outputs: Schema.Record({ key: Schema.String, value: Artifact })
})
export const TaskStarted = event("TaskStarted", "An execution began, and why it is needed.", {
  ...where,
  key: Schema.String,
  reason: Schema.String
})
export const TaskProgress = event(
  "TaskProgress",
  "How far an execution is. Streamed, at most every 100 ms and when it is done; not logged.",
  {
    ...where,
    done: Schema.Number,
    total: Schema.optional(Schema.Number),
    unit: Schema.String,
    label: Schema.optional(Schema.String)
  }
)
export const TaskCommitted = event(
  "TaskCommitted",
  "An execution ended well and its results are in the store.",
  {
    ...where,
    key: Schema.String,
    millis: Schema.Number,
    outputs: Schema.Record({ key: Schema.String, value: Artifact })
  }
)
export const TaskRetried = event(
  "TaskRetried",
  "Attempt number `attempt` failed in a way that may pass; the next one starts after a pause.",
  {
    ...where,
    key: Schema.String,
    attempt: Schema.Number,
    error: Schema.String,
    pauseMillis: Schema.Number
  }
)
export const TaskFailed = event("TaskFailed", "An execution failed for good.", {
  ...where,
  key: Schema.String,
  error: Schema.String
})
export const NodeSkipped = event(
  "NodeSkipped",
  "A node is left out, or those of its shards that depend on what failed (keepGoing).",
  { node: Schema.String, because: Schema.Array(Schema.String) }
)
export const Warning = event(
  "Warning",
  "Something a person should know: a damaged blob recomputed, a lease taken over, a remote out of reach.",
  { node: Schema.optional(Schema.String), detail: Schema.String }
)
export const RunFinished = event("RunFinished", "A run ended. A killed run never says so.", {
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

/** The schema of an event, for readers in other languages (JSON Schema draft 7). */
export const eventSchema: JSONSchema.JsonSchema7Root = JSONSchema.make(RunEvent)
