/**
 * How a sequence falls into blocks, and where the sums of a tile belong.
 */
import type { InfluenceRequest } from "@tessera/runtime"
import type { Range } from "../Executor.js"

export interface Tiling {
  /** Tokens, a whole number of blocks. */
  readonly padded: number
  readonly blocks: number
  readonly block: number
}

/** Positions of the tokens whose loss counts; the row before each predicts it. */
export const countedTokens = ({ mask }: InfluenceRequest): ReadonlyArray<number> =>
  mask.flatMap((flag, i) => (flag && i > 0 ? [i] : []))

/** Padding comes after everything, where causality hides it: its rows have no gradient, its keys no reader. */
export const padded = ({ tokens }: InfluenceRequest, { padded }: Tiling): Int32Array => {
  const all = new Int32Array(padded)
  all.set(tokens)
  return all
}

/** Puts a tile's sums [KV head, query block, group, key block] into [query head, query block, key block]. */
export const placeSums = (
  sums: Float32Array,
  e: Float32Array,
  {
    heads: [first, last],
    rows: [from, to],
    perHead,
    blocks
  }: { readonly heads: Range; readonly rows: Range; readonly perHead: number; readonly blocks: number }
): void => {
  let at = 0
  for (let h = first; h < last; h++) {
    for (let row = from; row < to; row++) {
      for (let g = 0; g < perHead; g++, at += to) {
        sums.set(e.subarray(at, at + to), ((h * perHead + g) * blocks + row) * blocks)
      }
    }
  }
}
