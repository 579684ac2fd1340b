/**
 * config.json of a Hugging Face Llama-family folder, as far as computing with it needs.
 */
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
  readonly beginOfText: number | undefined
  readonly endOfText: ReadonlyArray<number>
  /** Bytes per stored weight and KV element: 2 for bf16 and f16, 4 for f32. */
  readonly bytesPerElement: number
}
