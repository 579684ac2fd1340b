/**
 * config.json of a Hugging Face Llama-family folder, as far as computing with it needs.
 */
import type { AttentionShape } from "@tessera/attention"

/** Llama 3's frequency scaling (transformers' `rope_type: "llama3"`). */
export interface RopeScaling {
  readonly type: "llama3"
  readonly factor: number
  readonly lowFrequencyFactor: number
  readonly highFrequencyFactor: number
  readonly originalMaxPositions: number
}

export interface ModelConfig {
  readonly architecture: string
  readonly layers: number
  readonly hidden: number
  readonly intermediate: number
  readonly queryHeads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly vocabulary: number
  readonly maxPositions: number
  readonly rmsNormEpsilon: number
  readonly ropeTheta: number
  readonly ropeScaling: RopeScaling | undefined
  readonly tiedEmbeddings: boolean
  /** Whether q/k/v projections have biases. */
  readonly attentionBias: boolean
  /** Whether the attention's output projection has a bias: Llama with `attention_bias`, never Qwen2. */
  readonly outputBias: boolean
  readonly beginOfText: number | undefined
  readonly endOfText: ReadonlyArray<number>
  /** Bytes per stored weight and KV element: 2 for bf16 and f16, 4 for f32. */
  readonly bytesPerElement: number
}

/** What a plan needs to know of the model. */
export const attentionShape = (config: ModelConfig): AttentionShape => ({
  architecture: config.architecture,
  layers: config.layers,
  queryHeads: config.queryHeads,
  kvHeads: config.kvHeads,
  headDim: config.headDim
})
