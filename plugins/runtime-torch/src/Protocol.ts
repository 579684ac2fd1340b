/**
 * What the worker and this side say to each other, a JSON object a line: worker/PROTOCOL.md.
 */
import { Schema } from "effect"

/** Worker and this side must speak the same. */
export const PROTOCOL = 1

const Device = Schema.Struct({
  name: Schema.String,
  /** CUDA compute capability, such as `9.0`. */
  capability: Schema.String,
  /** Bytes. */
  memory: Schema.Number
})

/** The first line of a worker that can work. */
export const Hello = Schema.Struct({
  protocol: Schema.Int,
  worker: Schema.String,
  python: Schema.String,
  torch: Schema.String,
  transformers: Schema.String,
  triton: Schema.NullOr(Schema.String),
  /** Empty on a CPU. */
  devices: Schema.Array(Device),
  cuda: Schema.NullOr(Schema.String),
  cudnn: Schema.NullOr(Schema.String),
  capabilities: Schema.Array(Schema.String)
})
export type Hello = typeof Hello.Type

/** All that is sure of another version's greeting. */
const AnyHello = Schema.Struct({ protocol: Schema.Int })

const Fatal = Schema.Struct({
  reason: Schema.Literal("MissingPackage", "WrongVersion", "NoDevice"),
  detail: Schema.String
})
export type Fatal = typeof Fatal.Type

const Progress = Schema.Struct({
  done: Schema.Number,
  total: Schema.optional(Schema.NullOr(Schema.Number)),
  unit: Schema.String
})
export type WorkerProgress = typeof Progress.Type

const Refusal = Schema.Struct({
  reason: Schema.Literal(
    "InvalidRequest",
    "Unsupported",
    "OutOfMemory",
    "Execution",
    "InvalidModel",
    "Interrupted"
  ),
  detail: Schema.String
})
export type Refusal = typeof Refusal.Type

/** A line of the worker's. */
export const Line = Schema.Union(
  Schema.Struct({ hello: Hello }),
  Schema.Struct({ hello: AnyHello }),
  Schema.Struct({ fatal: Fatal }),
  Schema.Struct({ alive: Schema.Literal(true) }),
  Schema.Struct({ id: Schema.Int, progress: Progress }),
  // Null where the worker could not read the request's id.
  Schema.Struct({ id: Schema.NullOr(Schema.Int), error: Refusal }),
  Schema.Struct({ id: Schema.Int, result: Schema.Unknown })
)
export type Line = typeof Line.Type

/** A plan lowered for one length: windows in blocks, by layer and query head. */
export const LoweredPlan = Schema.Struct({
  block: Schema.Int,
  sink: Schema.Int,
  windows: Schema.Array(Schema.Array(Schema.Int))
})
export type LoweredPlan = typeof LoweredPlan.Type

export const DeviceKind = Schema.Literal("auto", "cpu", "cuda")
export type DeviceKind = typeof DeviceKind.Type
export const Dtype = Schema.Literal("auto", "float32", "bfloat16", "float16")
export type Dtype = typeof Dtype.Type

const Rows = Schema.Struct({ rows: Schema.Int, retries: Schema.optional(Schema.Int) })
const files = { model: Schema.String, input: Schema.String, output: Schema.String }

/** Methods: what is asked, and what a result holds. */
export const methods = {
  load: {
    params: Schema.Struct({ folder: Schema.String, device: DeviceKind, dtype: Dtype }),
    result: Schema.Struct({
      model: files.model,
      dtype: Schema.String,
      device: Schema.String,
      parameters: Schema.Number,
      deviceMap: Schema.NullOr(Schema.Record({ key: Schema.String, value: Schema.Unknown }))
    })
  },
  unload: { params: Schema.Struct({ model: files.model }), result: Schema.Struct({}) },
  generate: {
    params: Schema.Struct({
      ...files,
      batchTokens: Schema.NullOr(Schema.Int),
      plans: Schema.Array(LoweredPlan)
    }),
    result: Rows
  },
  score: { params: Schema.Struct({ ...files, plans: Schema.Array(LoweredPlan) }), result: Rows },
  influence: {
    params: Schema.Struct({
      ...files,
      objective: Schema.Literal("cross-entropy", "log-odds"),
      block: Schema.Int,
      sum: Schema.Literal("signed", "abs"),
      keep: Schema.Literal("blocks", "windows"),
      sink: Schema.Int,
      total: Schema.Boolean
    }),
    result: Rows
  },
  convertGguf: {
    params: Schema.Struct({
      file: Schema.String,
      folder: Schema.String,
      dtype: Schema.Literal("float32", "bfloat16", "float16")
    }),
    result: Schema.Struct({ files: Schema.Array(Schema.String) })
  }
} as const
export type Methods = typeof methods
export type Method = keyof Methods
export type Params<M extends Method> = Methods[M]["params"]["Type"]
export type Result<M extends Method> = Methods[M]["result"]["Type"]
