/**
 * Keys and values of one sequence: per layer and KV head, one growing matrix [tokens, head dim] each, so that any range
 * of tokens can be read where it lies.
 */
import type { ModelConfig } from "@tessera/runtime"

export interface HeadCache {
  k: Float32Array
  v: Float32Array
}

export interface KvCache {
  /** Tokens cached. */
  length: number
  readonly layers: ReadonlyArray<ReadonlyArray<HeadCache>>
}

export const make = (config: ModelConfig, capacity: number): KvCache => ({
  length: 0,
  layers: Array.from({ length: config.layers }, () =>
    Array.from({ length: config.kvHeads }, () => ({
      k: new Float32Array(capacity * config.headDim),
      v: new Float32Array(capacity * config.headDim)
    }))
  )
})

const grown = (data: Float32Array, size: number): Float32Array => {
  if (data.length >= size) return data
  const larger = new Float32Array(Math.max(size, data.length * 2))
  larger.set(data)
  return larger
}

/** Writes k and v [KV heads, tokens, head dim] of one layer at a position; what was there is overwritten. */
export const write = (
  heads: ReadonlyArray<HeadCache>,
  headDim: number,
  position: number,
  tokens: number,
  k: Float32Array,
  v: Float32Array
): void => {
  const size = tokens * headDim
  heads.forEach((head, h) => {
    const end = (position + tokens) * headDim
    head.k = grown(head.k, end)
    head.v = grown(head.v, end)
    head.k.set(k.subarray(h * size, (h + 1) * size), position * headDim)
    head.v.set(v.subarray(h * size, (h + 1) * size), position * headDim)
  })
}

/** The first tokens of some heads, side by side: [heads, tokens, head dim]. One head is not copied. */
export const joined = (
  heads: ReadonlyArray<HeadCache>,
  which: "k" | "v",
  headDim: number,
  tokens: number
): Float32Array => {
  const size = tokens * headDim
  const [first] = heads
  if (first !== undefined && heads.length === 1) return first[which].subarray(0, size)
  const all = new Float32Array(heads.length * size)
  heads.forEach((head, h) => all.set(head[which].subarray(0, size), h * size))
  return all
}
