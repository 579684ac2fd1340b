/**
 * config.json of a Llama-family model, as far as computing with its weights needs: what `runtime-cpu` computes by itself.
 */
import { Effect, Schema } from "effect"
import {
  absent,
  architectureOf,
  type ConfigSource,
  Count,
  decodeConfig,
  invalid,
  type Problem,
  unsupported
} from "./ConfigFile.js"
import { ModelError } from "./Errors.js"
import { decode } from "./Files.js"
import type { ModelConfig } from "./ModelConfig.js"

/** Llama 3's frequency scaling (transformers' `rope_type: "llama3"`). */
export interface RopeScaling {
  readonly type: "llama3"
  readonly factor: number
  readonly lowFrequencyFactor: number
  readonly highFrequencyFactor: number
  readonly originalMaxPositions: number
}

export interface LlamaConfig extends ModelConfig {
  readonly intermediate: number
  readonly rmsNormEpsilon: number
  readonly ropeTheta: number
  readonly ropeScaling: RopeScaling | undefined
  readonly tiedEmbeddings: boolean
  /** Whether q/k/v projections have biases. */
  readonly attentionBias: boolean
  /** Whether the attention's output projection has a bias: Llama with `attention_bias`, never Qwen2. */
  readonly outputBias: boolean
}

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
  intermediate_size: Count,
  hidden_act: absent(Schema.String),
  rms_norm_eps: absent(Schema.NonNegative),
  rope_theta: absent(Schema.Positive),
  rope_scaling: absent(Rope),
  rope_parameters: absent(Rope),
  partial_rotary_factor: absent(Schema.Positive),
  attention_bias: absent(Schema.Boolean),
  mlp_bias: absent(Schema.Boolean),
  tie_word_embeddings: absent(Schema.Boolean)
})
type Config = typeof Config.Type

const supported: ReadonlyArray<string> = ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"]

const refusal = (config: Config): Problem | undefined => {
  const activation = config.hidden_act ?? "silu"
  if (activation !== "silu" && activation !== "swish")
    return unsupported(`hidden_act is ${activation}; only silu (SwiGLU) is supported`)
  if (config.mlp_bias === true) return unsupported("mlp_bias is true; only MLPs without biases are supported")
  for (const share of [config.partial_rotary_factor, config.rope_parameters?.partial_rotary_factor])
    if (typeof share === "number" && share !== 1)
      return unsupported(
        "the rotary embedding covers part of the head (partial_rotary_factor); only whole heads are supported"
      )
  return undefined
}

const ropeScaling = (config: Config): RopeScaling | Problem | undefined => {
  const rope = config.rope_parameters ?? config.rope_scaling
  const type = rope?.rope_type ?? rope?.type ?? (rope?.factor == null ? "default" : "linear")
  if (rope === undefined || rope === null || type === "default") return undefined
  if (type !== "llama3")
    return unsupported(`the rotary embedding is scaled by ${type}; default and llama3 are supported`)
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

const toLlamaConfig = (common: ModelConfig, config: Config): LlamaConfig | Problem => {
  const refused = refusal(config)
  if (refused !== undefined) return refused
  if (common.headDim % 2 !== 0)
    return invalid(`the head dimension (${common.headDim}) must be even for rotary embeddings`)
  const scaling = ropeScaling(config)
  if (scaling !== undefined && "reason" in scaling) return scaling
  const thetas = [config.rope_parameters?.rope_theta, config.rope_theta].filter((theta) => theta != null)
  if (thetas.some((theta) => theta !== thetas[0]))
    return invalid(`rope_theta (${thetas[1]}) contradicts rope_parameters.rope_theta (${thetas[0]})`)
  const { architecture } = common
  const bias = architecture === "Qwen2ForCausalLM" || (config.attention_bias ?? false)
  return {
    ...common,
    intermediate: config.intermediate_size,
    rmsNormEpsilon: config.rms_norm_eps ?? 1e-6,
    ropeTheta: thetas[0] ?? 10_000,
    ropeScaling: scaling,
    tiedEmbeddings: config.tie_word_embeddings ?? false,
    attentionBias: bias && architecture !== "MistralForCausalLM",
    outputBias: bias && architecture === "LlamaForCausalLM"
  }
}

/** Decodes the config of a Llama, Mistral or Qwen2 model, and refuses variants that would be computed wrongly. */
export const decodeLlamaConfig = (source: ConfigSource): Effect.Effect<LlamaConfig, ModelError> =>
  Effect.gen(function* () {
    yield* architectureOf(source, (name) => supported.includes(name), supported.join(", "))
    const common = yield* decodeConfig(source)
    const config = yield* decode(Config, "InvalidConfig", source.path)(source.json)
    const result = toLlamaConfig(common, config)
    return "reason" in result ? yield* new ModelError({ path: source.path, ...result }) : result
  })
