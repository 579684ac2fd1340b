/**
 * What executes, and what every pass over a model feeds it.
 */
import type { LlamaConfig } from "@tessera/runtime"
import type { LayerWeights, LoadedWeights } from "./LoadedWeights.js"
import type { Rope } from "./Rope.js"
import type { Feeds, Sessions } from "./Sessions.js"
import { rows } from "./Tensors.js"

/** Sessions, weights and positions of one loaded model. */
export interface Executor {
  readonly config: LlamaConfig
  readonly sessions: Sessions
  readonly weights: LoadedWeights
  readonly rope: Rope
  /** Bytes of attention scores that one run may hold where there is a choice. */
  readonly scoreMemory: number
}

/** Tokens from (inclusive) and to (exclusive). */
export type Range = readonly [from: number, to: number]

/** Splits [from, to) into ranges of `size`, the last one perhaps shorter. */
export const split = (from: number, to: number, size: number): ReadonlyArray<Range> =>
  Array.from({ length: Math.ceil((to - from) / size) }, (_, i) => [
    from + i * size,
    Math.min(from + (i + 1) * size, to)
  ])

export const embed = ({ config, weights }: Executor, tokens: ArrayLike<number>): Float32Array => {
  const { hidden } = config
  const x = new Float32Array(tokens.length * hidden)
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? 0
    x.set(weights.embedding.subarray(token * hidden, (token + 1) * hidden), i * hidden)
  }
  return x
}

export const positionFeeds = ({ config, rope }: Executor, from: number, to: number): Feeds => {
  const { cos, sin } = rope.upTo(to)
  return { cos: rows(cos, config.headDim, from, to), sin: rows(sin, config.headDim, from, to) }
}

export const qkvFeeds = (executor: Executor, layer: LayerWeights, from: number, to: number): Feeds => ({
  ...layer.qkv,
  ...positionFeeds(executor, from, to)
})
