/**
 * Decodes what every decoder's config.json and generation_config.json say of its attention, and refuses what no runtime
 * here would compute rightly.
 */
import { Effect, Schema } from "effect"
import { ModelError } from "./Errors.js"
import { decode } from "./Files.js"
import type { ModelConfig } from "./ModelConfig.js"

/** @internal */
export const Count = Schema.Int.pipe(Schema.positive())
/** @internal A key that may be missing or null. */
export const absent = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))
const TokenIds = absent(Schema.Union(Schema.NonNegativeInt, Schema.Array(Schema.NonNegativeInt)))

const Config = Schema.Struct({
  vocab_size: Count,
  hidden_size: Count,
  num_hidden_layers: Count,
  num_attention_heads: Count,
  num_key_value_heads: absent(Count),
  head_dim: absent(Count),
  max_position_embeddings: Count,
  sliding_window: absent(Schema.Number),
  use_sliding_window: absent(Schema.Boolean),
  layer_types: absent(Schema.Array(Schema.String)),
  quantization_config: Schema.optional(Schema.Unknown),
  bos_token_id: absent(Schema.NonNegativeInt),
  eos_token_id: TokenIds,
  torch_dtype: absent(Schema.String),
  dtype: absent(Schema.String)
})
type Config = typeof Config.Type

const GenerationConfig = Schema.Struct({ eos_token_id: TokenIds })

const Kind = Schema.Struct({
  architectures: absent(Schema.Array(Schema.String)),
  text_config: Schema.optional(Schema.Unknown)
})

const dtypeBytes: Readonly<Record<string, number>> = { bfloat16: 2, float16: 2, float32: 4 }

/** @internal */
export type Problem = {
  readonly reason: "InvalidConfig" | "UnsupportedArchitecture"
  readonly detail: string
}
/** @internal */
export const invalid = (detail: string): Problem => ({ reason: "InvalidConfig", detail })
/** @internal */
export const unsupported = (detail: string): Problem => ({ reason: "UnsupportedArchitecture", detail })

/** A window that is as long as the model's positions drops nothing. */
const slides = (config: Config, architecture: string): boolean => {
  const window = config.sliding_window
  if (typeof window !== "number" || window >= config.max_position_embeddings) return false
  // Qwen2 and Qwen3 state a window that only `use_sliding_window` turns on.
  return architecture.startsWith("Qwen")
    ? config.use_sliding_window === true
    : config.use_sliding_window !== false
}

/** Why the attention is not one that this project computes, or undefined where it is. */
const refusal = (config: Config, architecture: string): Problem | undefined => {
  if (config.quantization_config !== undefined && config.quantization_config !== null)
    return unsupported(
      "the weights are quantised (quantization_config); use the unquantised bf16, f16 or f32 model"
    )
  if (slides(config, architecture) || (config.layer_types ?? []).some((type) => type !== "full_attention"))
    return unsupported("the model has sliding-window layers; only full attention in every layer is supported")
  const dtype = config.dtype ?? config.torch_dtype
  if (typeof dtype === "string" && dtypeBytes[dtype] === undefined)
    return unsupported(`the weights' type is ${dtype}; bfloat16, float16 and float32 are supported`)
  return undefined
}

const ids = (value: Config["eos_token_id"]): ReadonlyArray<number> =>
  value === undefined || value === null ? [] : typeof value === "number" ? [value] : value

/** Architectures whose default for a missing number of KV heads is that of query heads; others' is a fixed number. */
const MULTI_HEAD = /^(Llama|Phi3?|GPTNeoX)ForCausalLM$/
/** Architectures whose default for a missing head dimension is a fixed number. */
const OWN_HEAD_DIM = /^(Gemma|Qwen3)/

const heads = (config: Config, architecture: string) => {
  const queryHeads = config.num_attention_heads
  const kvHeads = config.num_key_value_heads ?? (MULTI_HEAD.test(architecture) ? queryHeads : undefined)
  if (kvHeads === undefined) return invalid("num_key_value_heads is missing")
  if (queryHeads % kvHeads !== 0)
    return invalid(`num_attention_heads (${queryHeads}) is no multiple of num_key_value_heads (${kvHeads})`)
  if (config.head_dim == null && OWN_HEAD_DIM.test(architecture)) return invalid("head_dim is missing")
  const headDim = config.head_dim ?? config.hidden_size / queryHeads
  if (!Number.isInteger(headDim))
    return invalid(
      `hidden_size (${config.hidden_size}) is no multiple of num_attention_heads (${queryHeads})`
    )
  return { queryHeads, kvHeads, headDim }
}

const toModelConfig = (
  config: Config,
  architecture: string,
  generationEnds: ReadonlyArray<number>
): ModelConfig | Problem => {
  const refused = refusal(config, architecture)
  if (refused !== undefined) return refused
  const shape = heads(config, architecture)
  if ("reason" in shape) return shape
  const endOfText = [...new Set([...generationEnds, ...ids(config.eos_token_id)])].sort((a, b) => a - b)
  const outside = endOfText.find((id) => id >= config.vocab_size)
  if (outside !== undefined)
    return invalid(`eos_token_id ${outside} lies outside the vocabulary of ${config.vocab_size}`)
  return {
    architecture,
    layers: config.num_hidden_layers,
    hidden: config.hidden_size,
    ...shape,
    vocabulary: config.vocab_size,
    maxPositions: config.max_position_embeddings,
    beginOfText: config.bos_token_id ?? undefined,
    endOfText,
    // transformers' own default where the file names no type.
    bytesPerElement: dtypeBytes[config.dtype ?? config.torch_dtype ?? "float32"] ?? 4
  }
}

/** The content of a folder's config files, for messages with their paths. */
export interface ConfigSource {
  /** Of config.json. */
  readonly path: string
  readonly json: unknown
  /** generation_config.json, where there is one. */
  readonly generation?: { readonly path: string; readonly json: unknown } | undefined
}

/** @internal The first of `architectures`; fails where it is not one that the caller takes. */
export const architectureOf = (
  { path, json }: ConfigSource,
  takes: (architecture: string) => boolean,
  supported: string
): Effect.Effect<string, ModelError> =>
  Effect.gen(function* () {
    const { architectures, text_config: nested } = yield* decode(Kind, "InvalidConfig", path)(json)
    const [architecture] = architectures ?? []
    const fail = (detail: string) => new ModelError({ path, ...unsupported(detail) })
    if (nested !== undefined && nested !== null)
      return yield* fail(
        `the language model's config is nested in text_config (${architecture ?? "a model of several kinds of input"}); save its language model alone, as a …ForCausalLM`
      )
    return architecture !== undefined && takes(architecture)
      ? architecture
      : yield* fail(`the architecture is ${architecture ?? "not stated"}; supported are ${supported}`)
  })

/** Decodes the config of any decoder (`…ForCausalLM`) with rotary or learned positions and full attention. */
export const decodeConfig = (source: ConfigSource): Effect.Effect<ModelConfig, ModelError> =>
  Effect.gen(function* () {
    const { path, json, generation } = source
    // The architecture first: another kind of model need not have any of these keys.
    const architecture = yield* architectureOf(
      source,
      (name) => name.endsWith("ForCausalLM"),
      "decoders (…ForCausalLM)"
    )
    const config = yield* decode(Config, "InvalidConfig", path)(json)
    const ends =
      generation === undefined
        ? []
        : ids(
            (yield* decode(GenerationConfig, "InvalidConfig", generation.path)(generation.json)).eos_token_id
          )
    const result = toModelConfig(config, architecture, ends)
    return "reason" in result ? yield* new ModelError({ path, ...result }) : result
  })
