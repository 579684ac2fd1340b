/**
 * Decodes config.json and generation_config.json, and refuses what this project would compute wrongly.
 */
import { Effect, Schema } from "effect"
import { ModelError } from "./Errors.js"
import { decode } from "./Files.js"
import type { ModelConfig, RopeScaling } from "./ModelConfig.js"

const Count = Schema.Int.pipe(Schema.positive())
const absent = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))
const TokenIds = absent(Schema.Union(Schema.NonNegativeInt, Schema.Array(Schema.NonNegativeInt)))

/** `rope_scaling`, and newer files' `rope_parameters`. */
const Rope = Schema.Struct({
  rope_type: absent(Schema.String),
  type: absent(Schema.String),
  rope_theta: absent(Schema.Positive),
  factor: absent(Schema.Positive),
  low_freq_factor: absent(Schema.Positive),
  high_freq_factor: absent(Schema.Positive),
  original_max_position_embeddings: absent(Count),
  partial_rotary_factor: absent(Schema.Positive)
})

const Config = Schema.Struct({
  architectures: absent(Schema.Array(Schema.String)),
  vocab_size: Count,
  hidden_size: Count,
  intermediate_size: Count,
  num_hidden_layers: Count,
  num_attention_heads: Count,
  num_key_value_heads: absent(Count),
  head_dim: absent(Count),
  hidden_act: absent(Schema.String),
  max_position_embeddings: Count,
  rms_norm_eps: absent(Schema.NonNegative),
  rope_theta: absent(Schema.Positive),
  rope_scaling: absent(Rope),
  rope_parameters: absent(Rope),
  partial_rotary_factor: absent(Schema.Positive),
  attention_bias: absent(Schema.Boolean),
  mlp_bias: absent(Schema.Boolean),
  tie_word_embeddings: absent(Schema.Boolean),
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

const supported = ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"] as const
const dtypeBytes: Readonly<Record<string, number>> = { bfloat16: 2, float16: 2, float32: 4 }
const Architectures = Schema.Struct({ architectures: absent(Schema.Array(Schema.String)) })

/** Why the model is not one that this project computes, or undefined where it is. */
const unsupported = (config: Config, architecture: string): string | undefined => {
  const quantised = config.quantization_config !== undefined && config.quantization_config !== null
  if (quantised)
    return "the weights are quantised (quantization_config); use the unquantised bf16, f16 or f32 model"
  const activation = config.hidden_act ?? "silu"
  if (activation !== "silu" && activation !== "swish")
    return `hidden_act is ${activation}; only silu (SwiGLU) is supported`
  // Qwen2 states a window that only `use_sliding_window` turns on.
  const window =
    architecture === "Qwen2ForCausalLM"
      ? config.use_sliding_window === true
      : typeof config.sliding_window === "number"
  if (window || (config.layer_types ?? []).some((type) => type !== "full_attention"))
    return "the model has sliding-window layers; only full attention in every layer is supported"
  if (config.mlp_bias === true) return "mlp_bias is true; only MLPs without biases are supported"
  for (const share of [config.partial_rotary_factor, config.rope_parameters?.partial_rotary_factor])
    if (typeof share === "number" && share !== 1)
      return "the rotary embedding covers part of the head (partial_rotary_factor); only whole heads are supported"
  const dtype = config.dtype ?? config.torch_dtype
  if (typeof dtype === "string" && dtypeBytes[dtype] === undefined)
    return `the weights' type is ${dtype}; bfloat16, float16 and float32 are supported`
  return undefined
}

type Problem = { readonly reason: "InvalidConfig" | "UnsupportedArchitecture"; readonly detail: string }
const invalid = (detail: string): Problem => ({ reason: "InvalidConfig", detail })

const ropeScaling = (config: Config): RopeScaling | Problem | undefined => {
  const rope = config.rope_parameters ?? config.rope_scaling
  const type = rope?.rope_type ?? rope?.type ?? (rope?.factor == null ? "default" : "linear")
  if (rope === undefined || rope === null || type === "default") return undefined
  if (type !== "llama3")
    return {
      reason: "UnsupportedArchitecture",
      detail: `the rotary embedding is scaled by ${type}; default and llama3 are supported`
    }
  const {
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original
  } = rope
  if (factor == null || low == null || high == null || original == null)
    return invalid(
      "llama3 rope scaling needs factor, low_freq_factor, high_freq_factor and original_max_position_embeddings"
    )
  if (low >= high) return invalid("llama3 rope scaling needs low_freq_factor below high_freq_factor")
  return {
    type: "llama3",
    factor,
    lowFrequencyFactor: low,
    highFrequencyFactor: high,
    originalMaxPositions: original
  }
}

const ids = (value: Config["eos_token_id"]): ReadonlyArray<number> =>
  value === undefined || value === null ? [] : typeof value === "number" ? [value] : value

const heads = (config: Config, architecture: string) => {
  const queryHeads = config.num_attention_heads
  // Only Llama's default for the missing key depends on nothing else.
  const kvHeads = config.num_key_value_heads ?? (architecture === "LlamaForCausalLM" ? queryHeads : undefined)
  if (kvHeads === undefined) return invalid("num_key_value_heads is missing")
  if (queryHeads % kvHeads !== 0)
    return invalid(`num_attention_heads (${queryHeads}) is no multiple of num_key_value_heads (${kvHeads})`)
  const headDim = config.head_dim ?? config.hidden_size / queryHeads
  if (!Number.isInteger(headDim))
    return invalid(
      `hidden_size (${config.hidden_size}) is no multiple of num_attention_heads (${queryHeads})`
    )
  if (headDim % 2 !== 0) return invalid(`the head dimension (${headDim}) must be even for rotary embeddings`)
  return { queryHeads, kvHeads, headDim }
}

const toModelConfig = (
  config: Config,
  architecture: string,
  generationEnds: ReadonlyArray<number>
): ModelConfig | Problem => {
  const detail = unsupported(config, architecture)
  if (detail !== undefined) return { reason: "UnsupportedArchitecture", detail }
  const shape = heads(config, architecture)
  if ("reason" in shape) return shape
  const scaling = ropeScaling(config)
  if (scaling !== undefined && "reason" in scaling) return scaling
  const thetas = [config.rope_parameters?.rope_theta, config.rope_theta].filter((theta) => theta != null)
  if (thetas.some((theta) => theta !== thetas[0]))
    return invalid(`rope_theta (${thetas[1]}) contradicts rope_parameters.rope_theta (${thetas[0]})`)
  const endOfText = [...new Set([...generationEnds, ...ids(config.eos_token_id)])].sort((a, b) => a - b)
  const outside = endOfText.find((id) => id >= config.vocab_size)
  if (outside !== undefined)
    return invalid(`eos_token_id ${outside} lies outside the vocabulary of ${config.vocab_size}`)
  const bias = architecture === "Qwen2ForCausalLM" || (config.attention_bias ?? false)
  return {
    architecture,
    layers: config.num_hidden_layers,
    hidden: config.hidden_size,
    intermediate: config.intermediate_size,
    ...shape,
    vocabulary: config.vocab_size,
    maxPositions: config.max_position_embeddings,
    rmsNormEpsilon: config.rms_norm_eps ?? 1e-6,
    ropeTheta: thetas[0] ?? 10_000,
    ropeScaling: scaling,
    tiedEmbeddings: config.tie_word_embeddings ?? false,
    attentionBias: bias && architecture !== "MistralForCausalLM",
    outputBias: bias && architecture === "LlamaForCausalLM",
    beginOfText: config.bos_token_id ?? undefined,
    endOfText,
    // transformers' own default where the file names no type.
    bytesPerElement: dtypeBytes[config.dtype ?? config.torch_dtype ?? "float32"] ?? 4
  }
}

/**
 * @param path of config.json, for messages.
 * @param json its content.
 * @param generation the content of generation_config.json, or undefined where there is none.
 */
export const decodeConfig = (
  path: string,
  json: unknown,
  generation?: { readonly path: string; readonly json: unknown }
): Effect.Effect<ModelConfig, ModelError> =>
  Effect.gen(function* () {
    const fail = (problem: Problem) => new ModelError({ path, ...problem })
    // The architecture first: another family's config need not have any of Llama's keys.
    const { architectures } = yield* decode(Architectures, "InvalidConfig", path)(json)
    const architecture = supported.find((name) => architectures?.[0] === name)
    if (architecture === undefined)
      return yield* fail({
        reason: "UnsupportedArchitecture",
        detail: `the architecture is ${architectures?.[0] ?? "not stated"}; supported are ${supported.join(", ")}`
      })
    const config = yield* decode(Config, "InvalidConfig", path)(json)
    const ends =
      generation === undefined
        ? []
        : ids(
            (yield* decode(GenerationConfig, "InvalidConfig", generation.path)(generation.json)).eos_token_id
          )
    const result = toModelConfig(config, architecture, ends)
    return "reason" in result ? yield* fail(result) : result
  })
