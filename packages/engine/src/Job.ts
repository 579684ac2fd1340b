/**
 * One execution as a file: what a child process or a cluster is given, and what it answers.
 */
import { Artifact } from "@tessera/store"
import { Schema } from "effect"
import { StoredManifest } from "./Keys.js"

export const Outputs = Schema.Record({ key: Schema.String, value: Artifact })
export type Outputs = typeof Outputs.Type

const Values = Schema.Record({ key: Schema.String, value: Schema.Unknown })

export const Job = Schema.Struct({
  /** Version of this format. */
  format: Schema.Literal(1),
  /** `file:` URL of the module whose default export is the pipeline. */
  module: Schema.String,
  /** What the graph is built from. */
  params: Values,
  set: Schema.Record({ key: Schema.String, value: Values }),
  node: Schema.String,
  shard: Schema.optional(Schema.String),
  /** Whoever does the job computes the key itself and refuses another one: its code or services are not the run's. */
  key: Schema.String,
  manifest: StoredManifest,
  inputs: Outputs,
  /** The store's folder. */
  store: Schema.String,
  /** What it holds: cores, bytes of memory, names of slots. */
  cpu: Schema.Number,
  memory: Schema.Number,
  slots: Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) }),
  /** An empty folder to work in, which whoever gave the job removes; default one of the store's. */
  scratch: Schema.optional(Schema.String)
}).annotations({ identifier: "Job" })
export type Job = typeof Job.Type

/** An error as data. */
export const Failed = Schema.TaggedStruct("Failed", {
  /** Of the error class: `StageFailed`, `EngineError`, `StoreError`, `ArtifactError` or `GraphError`. */
  error: Schema.String,
  /** Of a failed stage, that of its own error. */
  message: Schema.String,
  /** Of the error, or of a failed stage's own error, as far as JSON can hold them. */
  fields: Values,
  transient: Schema.Boolean
})
export type Failed = typeof Failed.Type

/** What the one who did a job leaves in a file beside it. */
export const JobResult = Schema.Union(Schema.TaggedStruct("Succeeded", { outputs: Outputs }), Failed)
export type JobResult = typeof JobResult.Type

/** Progress, one JSON line each on stdout. */
export const JobProgress = Schema.Struct({
  done: Schema.Number,
  total: Schema.optionalWith(Schema.Number, { exact: true }),
  unit: Schema.String,
  label: Schema.optionalWith(Schema.String, { exact: true })
})
