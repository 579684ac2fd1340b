/**
 * Attention of a chunk of queries over cached keys, tile by tile.
 */
import type { RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { type Executor, type Range, split } from "./Executor.js"
import { group } from "./graphs/Layout.js"
import * as KvCache from "./KvCache.js"
import { floats, int32s } from "./Tensors.js"
import type { LayerWindows } from "./Windows.js"

/**
 * Query tokens per tile: enough rows for matrix products, few enough that their scores stay in cache and that little of
 * them lies above the diagonal.
 */
export const tileSize = (length: number): number => (length <= 1024 ? 128 : 256)

export const range = (from: number, to: number): Int32Array =>
  Int32Array.from({ length: to - from }, (_, i) => from + i)

/** Positions of query rows: a token's position once per query head of the group. */
export const queryRows = (from: number, to: number, perHead: number): Int32Array =>
  Int32Array.from({ length: (to - from) * perHead }, (_, row) => from + Math.floor(row / perHead))

export const windowRows = (
  windows: LayerWindows,
  kvHead: number,
  perHead: number,
  from: number,
  to: number
): Int32Array =>
  Int32Array.from({ length: (to - from) * perHead }, (_, row) =>
    windows.start(kvHead * perHead + (row % perHead), from + Math.floor(row / perHead))
  )

/** Rows [0, sink) and [start, to) of a matrix, side by side; where they meet, the matrix itself. */
const keptRows = (
  data: Float32Array,
  width: number,
  sink: number,
  start: number,
  to: number
): Float32Array => {
  if (start <= sink) return data.subarray(0, to * width)
  const kept = new Float32Array((sink + to - start) * width)
  kept.set(data.subarray(0, sink * width))
  kept.set(data.subarray(start * width, to * width), sink * width)
  return kept
}

/** Scores of one run, at most, where there is a choice: larger ones leave the cache, smaller ones cost more runs. */
const SCORES = 1 << 19

/** KV heads that share one run: as many as fit, a whole number of times. */
export const headBatches = (kvHeads: number, rows: number, keys: number): ReadonlyArray<Range> => {
  let size = kvHeads
  while (size > 1 && (kvHeads % size !== 0 || size * rows * keys > SCORES)) size--
  return split(0, kvHeads, size)
}

/** A tile of a chunk, or the place of one: some heads' rows of [heads, rows of the chunk, head dim]. */
export interface TileOf {
  readonly heads: Range
  /** Rows inside the chunk. */
  readonly rows: Range
  /** Rows of the chunk. */
  readonly of: number
}

const eachHead = (
  { heads: [first, last], rows: [from, to], of }: TileOf,
  headDim: number,
  use: (inChunk: number, inTile: number, size: number) => void
): void => {
  const size = (to - from) * headDim
  for (let h = first; h < last; h++) use((h * of + from) * headDim, (h - first) * size, size)
}

/** A tile's numbers [heads, rows, head dim], side by side; not copied where they lie so. */
export const takeTile = (chunk: Float32Array, tile: TileOf, headDim: number): Float32Array => {
  const { heads, rows, of } = tile
  const count = heads[1] - heads[0]
  if (count === 1 || rows[1] - rows[0] === of) {
    const start = (heads[0] * of + rows[0]) * headDim
    return chunk.subarray(start, start + count * (rows[1] - rows[0]) * headDim)
  }
  const taken = new Float32Array(count * (rows[1] - rows[0]) * headDim)
  eachHead(tile, headDim, (at, to, size) => taken.set(chunk.subarray(at, at + size), to))
  return taken
}

/** Puts a tile's numbers back where `takeTile` finds them. */
export const putTile = (chunk: Float32Array, tile: TileOf, headDim: number, values: Float32Array): void =>
  eachHead(tile, headDim, (at, from, size) => chunk.set(values.subarray(from, from + size), at))

/**
 * Attention of the queries of tokens [from, to) over cached keys: q → o, both [KV heads, tokens · group, head dim].
 *
 * @param tiles token ranges inside [from, to); rows outside stay zero
 */
export const attend = (
  { config, sessions }: Executor,
  heads: ReadonlyArray<KvCache.HeadCache>,
  q: Float32Array,
  [from, to]: Range,
  tiles: ReadonlyArray<Range>,
  windows: LayerWindows | undefined
): Effect.Effect<Float32Array, RuntimeError> =>
  Effect.gen(function* () {
    const { headDim, kvHeads } = config
    const perHead = group(config)
    const of = (to - from) * perHead
    const o = new Float32Array(q.length)
    for (const [start, end] of tiles) {
      const rows = [(start - from) * perHead, (end - from) * perHead] as const
      const count = rows[1] - rows[0]
      const query_position = int32s(queryRows(start, end, perHead), [count, 1])
      if (windows === undefined) {
        for (const batch of headBatches(kvHeads, count, end)) {
          const tile = { heads: batch, rows, of }
          const cached = heads.slice(...batch)
          const outputs = yield* sessions.run("attend", {
            q: floats(takeTile(q, tile, headDim), [cached.length, count, headDim]),
            k: floats(KvCache.joined(cached, "k", headDim, end), [cached.length, end, headDim]),
            v: floats(KvCache.joined(cached, "v", headDim, end), [cached.length, end, headDim]),
            query_position,
            key_position: int32s(range(0, end), [1, end])
          })
          putTile(o, tile, headDim, outputs.float("o"))
        }
        continue
      }
      const { sink } = windows
      for (const [h, head] of heads.entries()) {
        const tile = { heads: [h, h + 1], rows, of } as const
        const low = windowRows(windows, h, perHead, start, end)
        const first = low.reduce((a, b) => Math.min(a, b))
        const positions =
          first <= sink ? range(0, end) : Int32Array.from([...range(0, sink), ...range(first, end)])
        const keys = positions.length
        const outputs = yield* sessions.run("attend-sparse", {
          q: floats(takeTile(q, tile, headDim), [1, count, headDim]),
          k: floats(keptRows(head.k, headDim, sink, first, end), [1, keys, headDim]),
          v: floats(keptRows(head.v, headDim, sink, first, end), [1, keys, headDim]),
          query_position,
          key_position: int32s(positions, [1, keys]),
          window_start: int32s(low, [count, 1]),
          sink: int32s(Int32Array.of(sink), [])
        })
        putTile(o, tile, headDim, outputs.float("o"))
      }
    }
    return o
  })
