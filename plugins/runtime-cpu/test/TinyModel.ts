/** Small random models, written as Hugging Face folders and opened by the runtime and the reference alike. */
import type { FileSystem, Path } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Grouping, type Plan } from "@tessera/attention"
import {
  attentionShape,
  decodeLlamaConfig,
  type LoadedModel,
  llamaTensors,
  type LlamaConfig,
  ModelRuntime
} from "@tessera/runtime"
import { Effect, type Scope } from "effect"
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64"
import { uniformInt } from "pure-rand/distribution/uniformInt"
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus"
import { f32, folderOf, safetensors, tinyTokenizer } from "../../../packages/runtime/test/folder.js"
import { RuntimeCpu } from "../src/index.js"
import { matrix } from "./Matrix.js"
import type { ReferenceModel } from "./Reference.js"

/** Query width (heads · head dim) and hidden size differ, so that mixing them up shows. */
export const tinyConfig = {
  architectures: ["LlamaForCausalLM"],
  vocab_size: 37,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-5,
  torch_dtype: "float32"
}

export interface TinyOptions {
  readonly config?: Readonly<Record<string, unknown>>
  readonly seed?: number
  /** Factor on query and key weights: large ones make attention peaked. */
  readonly peak?: number
}

export interface Tiny extends ReferenceModel {
  /** Content of a model folder. */
  readonly files: Readonly<Record<string, Uint8Array | object>>
}

/** A folder's files and the reference's model from tensors by name. */
export const folderFiles = (
  config: LlamaConfig,
  json: object,
  values: (name: string, count: number) => Float32Array
): Tiny => {
  const tensors = [...llamaTensors(config)].map(([name, shape]) => {
    const data = values(
      name,
      shape.reduce((product, n) => product * n, 1)
    )
    return { name, shape, data }
  })
  return {
    config,
    weights: new Map(
      tensors.map(({ name, shape, data }) => {
        const [rows, columns] = shape.length === 1 ? [1, shape[0]] : shape
        return [name, matrix(rows ?? 0, columns ?? 0, Float64Array.from(data))]
      })
    ),
    files: {
      "config.json": json,
      "tokenizer.json": tinyTokenizer,
      "model.safetensors": safetensors(
        Object.fromEntries(tensors.map(({ name, shape, data }) => [name, f32(shape, [...data])]))
      )
    }
  }
}

export const makeTiny = ({ config: overrides = {}, seed = 1, peak = 1 }: TinyOptions = {}): Tiny => {
  const json = { ...tinyConfig, ...overrides }
  const config = Effect.runSync(decodeLlamaConfig({ path: "config.json", json }))
  const random = xoroshiro128plus(seed)
  return folderFiles(config, json, (name, count) => {
    const norm = name.includes("norm")
    const scale = /[qk]_proj/.test(name) ? 0.35 * peak : name.includes("embed") ? 1 : 0.35
    return Float32Array.from({ length: count }, () => {
      const value = 2 * uniformFloat64(random) - 1
      return norm ? 1 + 0.3 * value : scale * value
    })
  })
}

export const randomTokens = (length: number, vocabulary: number, seed = 2): ReadonlyArray<number> => {
  const random = xoroshiro128plus(seed)
  return Array.from({ length }, () => uniformInt(random, 0, vocabulary - 1))
}

/** A plan of random rules, of the given grouping, over blocks of 4 tokens and a sink of one block. */
export const randomPlan = (config: LlamaConfig, grouping: Plan["grouping"], seed = 3): Plan => {
  const random = xoroshiro128plus(seed)
  const heads = grouping === "kv-head" ? config.kvHeads : config.queryHeads
  return {
    format: 1,
    name: `random-${grouping}`,
    model: attentionShape(config),
    geometry: { block: 4, sink: 4, minWindow: 1 },
    grouping,
    rules: Array.from({ length: config.layers }, () =>
      Array.from({ length: heads }, () => ({
        alpha: uniformInt(random, 0, 16),
        beta: 0.5 * uniformFloat64(random)
      }))
    ),
    length: "prompt+new",
    provenance: {}
  }
}

export const groupings = Grouping.literals

type Context = FileSystem.FileSystem | Path.Path | ModelRuntime | Scope.Scope

/** Runs a test's program with the runtime on one thread: sums have one order, and tests share cores. */
export const run = <A, E>(
  effect: Effect.Effect<A, E, Context>,
  options: RuntimeCpu.Options = {}
): Promise<A> =>
  effect.pipe(
    Effect.scoped,
    Effect.provide(RuntimeCpu.layer({ threads: 1, ...options })),
    Effect.provide(NodeContext.layer),
    Effect.runPromise
  )

export const loadFolder = (folder: string) => Effect.flatMap(ModelRuntime, (runtime) => runtime.load(folder))

/** Opens the model with the runtime and hands it to the test. */
export const withModel = <A, E>(
  tiny: Tiny,
  use: (loaded: LoadedModel) => Effect.Effect<A, E, Context>,
  options?: RuntimeCpu.Options
): Promise<A> => run(Effect.flatMap(Effect.flatMap(folderOf(tiny.files), loadFolder), use), options)
