/**
 * The forward pass: prompts in chunks, layer by layer; a few new tokens after cached ones in one run per layer.
 */
import type { ModelConfig, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { group } from "./graphs/Layer.js"
import * as KvCache from "./KvCache.js"
import type { LayerWeights, LoadedWeights } from "./LoadedWeights.js"
import type { Rope } from "./Rope.js"
import type { Feeds, Sessions } from "./Sessions.js"
import { floats, int32s, int64s, rows } from "./Tensors.js"
import type { LayerWindows, Windows } from "./Windows.js"

/** What executes: sessions, weights and positions of one loaded model. */
export interface Executor {
  readonly config: ModelConfig
  readonly sessions: Sessions
  readonly weights: LoadedWeights
  readonly rope: Rope
}

/** Tokens per chunk: large enough for matrix products, small enough that a tile's scores stay in cache. */
export const CHUNK = 256

export const embed = ({ config, weights }: Executor, tokens: ArrayLike<number>): Float32Array => {
  const { hidden } = config
  const x = new Float32Array(tokens.length * hidden)
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? 0
    x.set(weights.embedding.subarray(token * hidden, (token + 1) * hidden), i * hidden)
  }
  return x
}

export const chunks = (length: number, size = CHUNK): ReadonlyArray<readonly [from: number, to: number]> =>
  Array.from({ length: Math.ceil(length / size) }, (_, i) => [i * size, Math.min((i + 1) * size, length)])

const positionFeeds = ({ config, rope }: Executor, from: number, to: number): Feeds => {
  const { cos, sin } = rope.upTo(to)
  return { cos: rows(cos, config.headDim, from, to), sin: rows(sin, config.headDim, from, to) }
}

export const qkvFeeds = (executor: Executor, layer: LayerWeights, from: number, to: number): Feeds => ({
  ...layer.qkv,
  ...positionFeeds(executor, from, to)
})

export const range = (from: number, to: number): Int32Array =>
  Int32Array.from({ length: to - from }, (_, i) => from + i)

/** Positions of query rows: a token's position once per query head of the group. */
export const queryRows = (from: number, to: number, perHead: number): Int32Array =>
  Int32Array.from({ length: (to - from) * perHead }, (_, row) => from + Math.floor(row / perHead))

const windowRows = (
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
export const headBatches = (
  kvHeads: number,
  rows: number,
  keys: number
): ReadonlyArray<readonly [from: number, to: number]> => {
  let size = kvHeads
  while (size > 1 && (kvHeads % size !== 0 || size * rows * keys > SCORES)) size--
  return chunks(kvHeads, size)
}

/** Attention of the queries of tokens [from, to) over cached keys: q → o, both [KV heads, tokens · group, head dim]. */
const attention = (
  { config, sessions }: Executor,
  heads: ReadonlyArray<KvCache.HeadCache>,
  q: Float32Array,
  from: number,
  to: number,
  windows: LayerWindows | undefined
): Effect.Effect<Float32Array, RuntimeError> =>
  Effect.gen(function* () {
    const { headDim, kvHeads } = config
    const perHead = group(config)
    const count = (to - from) * perHead
    const query_position = int32s(queryRows(from, to, perHead), [count, 1])
    const o = new Float32Array(q.length)
    const width = count * headDim
    if (windows === undefined) {
      for (const [first, last] of headBatches(kvHeads, count, to)) {
        const batch = heads.slice(first, last)
        const outputs = yield* sessions.run("attend", {
          q: floats(q.subarray(first * width, last * width), [batch.length, count, headDim]),
          k: floats(KvCache.joined(batch, "k", headDim, to), [batch.length, to, headDim]),
          v: floats(KvCache.joined(batch, "v", headDim, to), [batch.length, to, headDim]),
          query_position,
          key_position: int32s(range(0, to), [1, to])
        })
        o.set(outputs.float("o"), first * width)
      }
      return o
    }
    const { sink } = windows
    for (const [h, head] of heads.entries()) {
      const low = windowRows(windows, h, perHead, from, to)
      const start = Math.min(...low)
      const positions =
        start <= sink ? range(0, to) : Int32Array.from([...range(0, sink), ...range(start, to)])
      const keys = positions.length
      const outputs = yield* sessions.run("attend-sparse", {
        q: floats(q.subarray(h * width, (h + 1) * width), [1, count, headDim]),
        k: floats(keptRows(head.k, headDim, sink, start, to), [1, keys, headDim]),
        v: floats(keptRows(head.v, headDim, sink, start, to), [1, keys, headDim]),
        query_position,
        key_position: int32s(positions, [1, keys]),
        window_start: int32s(low, [count, 1]),
        sink: int32s(Int32Array.of(sink), [])
      })
      o.set(outputs.float("o"), h * width)
    }
    return o
  })

/** What a layer leaves for those who want to go back through it. */
export interface LayerRecord {
  /** The layer's input [tokens, hidden]. */
  readonly x: Float32Array
  /** Attention outputs by range of tokens, each [KV heads, chunk tokens · group, head dim]. */
  readonly o: ReadonlyArray<Float32Array>
}

/** Fills an empty cache with a prompt and gives the last layer's output [tokens, hidden]. */
export const prefill = (
  executor: Executor,
  tokens: ArrayLike<number>,
  cache: KvCache.KvCache,
  windows: Windows,
  record?: {
    readonly ranges: ReadonlyArray<readonly [number, number]>
    readonly visit: (layer: LayerRecord) => void
  }
): Effect.Effect<Float32Array, RuntimeError> =>
  Effect.gen(function* () {
    const { config, sessions, weights } = executor
    const { hidden, headDim } = config
    let x = embed(executor, tokens)
    for (const [l, layer] of weights.layers.entries()) {
      const heads = cache.layers[l] ?? []
      const y = new Float32Array(x.length)
      const outputs: Array<Float32Array> = []
      for (const [from, to] of record?.ranges ?? chunks(tokens.length)) {
        const input = rows(x, hidden, from, to)
        const projected = yield* sessions.run("qkv", { x: input, ...qkvFeeds(executor, layer, from, to) })
        KvCache.write(heads, headDim, from, to - from, projected.float("k"), projected.float("v"))
        const o = yield* attention(executor, heads, projected.float("q"), from, to, windows?.[l])
        const after = yield* sessions.run("post", {
          x: input,
          o: floats(o, [config.kvHeads, (to - from) * group(config), headDim]),
          ...layer.post
        })
        y.set(after.float("y"), from * hidden)
        if (record !== undefined) outputs.push(o)
      }
      record?.visit({ x, o: outputs })
      x = y
    }
    cache.length = tokens.length
    return x
  })

/**
 * New tokens after those cached: gives the last layer's output [tokens, hidden]. Their keys and values are written
 * after the cached ones; the caller moves `cache.length` to keep them.
 */
export const extend = (
  executor: Executor,
  tokens: ArrayLike<number>,
  cache: KvCache.KvCache,
  windows: Windows
): Effect.Effect<Float32Array, RuntimeError> =>
  Effect.gen(function* () {
    const { config, sessions, weights } = executor
    const { hidden, headDim } = config
    const perHead = group(config)
    const from = cache.length
    const to = from + tokens.length
    const count = tokens.length * perHead
    const common = {
      ...positionFeeds(executor, from, to),
      query_position: int32s(queryRows(from, to, perHead), [count, 1])
    }
    let x = embed(executor, tokens)
    for (const [l, layer] of weights.layers.entries()) {
      const heads = cache.layers[l] ?? []
      const layerWindows = windows?.[l]
      const feeds: Record<string, Feeds[string]> = {
        ...layer.qkv,
        ...layer.post,
        ...common,
        x: floats(x, [tokens.length, hidden]),
        sink: int32s(Int32Array.of(layerWindows?.sink ?? 0), [])
      }
      heads.forEach((head, h) => {
        const low =
          layerWindows === undefined ? new Int32Array(count) : windowRows(layerWindows, h, perHead, from, to)
        const sink = Math.min(layerWindows?.sink ?? 0, from)
        const start = Math.min(Math.max(Math.min(...low), sink), from)
        feeds[`sink_k_${h}`] = rows(head.k, headDim, 0, sink)
        feeds[`sink_v_${h}`] = rows(head.v, headDim, 0, sink)
        feeds[`window_k_${h}`] = rows(head.k, headDim, start, from)
        feeds[`window_v_${h}`] = rows(head.v, headDim, start, from)
        feeds[`window_start_${h}`] = int32s(low, [count, 1])
        const positions = Int32Array.from([...range(0, sink), ...range(start, to)])
        feeds[`key_position_${h}`] = int32s(positions, [1, positions.length])
        feeds[`ranges_${h}`] = int64s([sink, from - start, tokens.length], [3])
      })
      const outputs = yield* sessions.run("step", feeds)
      KvCache.write(heads, headDim, from, tokens.length, outputs.float("k"), outputs.float("v"))
      x = outputs.float("y")
    }
    return x
  })
