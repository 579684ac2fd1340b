/**
 * config.json of a Hugging Face decoder, as far as every runtime and every plan needs it.
 */
import type { AttentionShape, ModelIdentity } from "@tessera/attention"

export interface ModelConfig {
  readonly architecture: string
  readonly layers: number
  readonly hidden: number
  readonly queryHeads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly vocabulary: number
  readonly maxPositions: number
  readonly beginOfText: number | undefined
  readonly endOfText: ReadonlyArray<number>
  /** Bytes per stored weight and KV element: 2 for bf16 and f16, 4 for f32. */
  readonly bytesPerElement: number
}

/** What a plan needs to know of the model. */
export const attentionShape = (config: ModelConfig, identity?: ModelIdentity): AttentionShape => ({
  ...(identity === undefined ? {} : { identity }),
  architecture: config.architecture,
  layers: config.layers,
  queryHeads: config.queryHeads,
  kvHeads: config.kvHeads,
  headDim: config.headDim
})
