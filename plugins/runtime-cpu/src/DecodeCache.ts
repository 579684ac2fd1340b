/**
 * What decoding caches: per layer the keys and values that some head still keeps, in buffers that the graph reads where
 * they lie. Rows that have left every window are dropped when a buffer is full.
 */
import type { ModelConfig } from "@tessera/runtime"
import type { Tensor } from "onnxruntime-common"
import { range } from "./Attend.js"
import { ofLayer } from "./graphs/Layout.js"
import type { KvCache } from "./KvCache.js"
import type { Feeds, Outputs } from "./Sessions.js"
import { floats } from "./Tensors.js"
import type { LayerWindows, Windows } from "./Windows.js"

const HIDDEN = -1e30

/** Rows to spare when a buffer is made: fewer are less to read, more are fewer copies. */
const SPARE = 128

interface LayerBuffer {
  /** [KV heads, capacity, head dim] each. */
  readonly k: Float32Array
  readonly v: Float32Array
  readonly capacity: number
  /** Positions of the rows in use. */
  readonly positions: Array<number>
  /** Per query head, the start of its window that the mask shows. */
  readonly starts: Array<number>
  /** [KV heads, group, 1, capacity + 1], or [1, 1, 1, capacity + 1] where all heads keep all; the last is the token's own key. */
  readonly mask: Float32Array
  readonly feeds: Feeds
}

export interface DecodeCache {
  /** Feeds of the token at a position: caches and masks. */
  readonly feeds: (position: number) => Feeds
  /** Takes in a token's keys and values. */
  readonly add: (position: number, outputs: Outputs) => void
}

/** How rows of one head are read: from an array, at an offset. */
type Source = (kvHead: number) => { readonly k: Float32Array; readonly v: Float32Array; readonly at: number }

const buffer = (
  { kvHeads, queryHeads, headDim }: ModelConfig,
  layer: number,
  source: Source,
  /** Rows of the source to keep, and their positions. */
  rows: ReadonlyArray<number>,
  positions: ReadonlyArray<number>,
  sparse: boolean
): LayerBuffer => {
  const capacity = rows.length + SPARE
  const k = new Float32Array(kvHeads * capacity * headDim)
  const v = new Float32Array(kvHeads * capacity * headDim)
  for (let h = 0; h < kvHeads; h++) {
    const from = source(h)
    rows.forEach((row, i) => {
      const start = from.at + row * headDim
      const to = (h * capacity + i) * headDim
      k.set(from.k.subarray(start, start + headDim), to)
      v.set(from.v.subarray(start, start + headDim), to)
    })
  }
  const heads = sparse ? queryHeads : 1
  const mask = new Float32Array(heads * (capacity + 1))
  const shape = [kvHeads, 1, capacity, headDim]
  const maskShape = [sparse ? kvHeads : 1, sparse ? queryHeads / kvHeads : 1, 1, capacity + 1]
  return {
    k,
    v,
    capacity,
    positions: [...positions],
    starts: Array.from({ length: heads }, () => -1),
    mask,
    feeds: {
      [ofLayer(layer, "k")]: floats(k, shape),
      [ofLayer(layer, "v")]: floats(v, shape),
      [ofLayer(layer, "mask")]: floats(mask, maskShape)
    }
  }
}

/** Brings the mask to a position: only heads whose window moved on since are written anew. */
const show = (
  { mask, positions, starts, capacity }: LayerBuffer,
  windows: LayerWindows | undefined,
  position: number
) => {
  for (const [head, shown] of starts.entries()) {
    const start = windows?.start(head, position) ?? 0
    if (start === shown) continue
    starts[head] = start
    const at = head * (capacity + 1)
    const sink = windows?.sink ?? 0
    for (let row = 0; row < capacity; row++) {
      const key = positions[row] ?? -1
      mask[at + row] = key >= start || (key >= 0 && key < sink) ? 0 : HIDDEN
    }
  }
}

/** Drops the rows that no head will keep again, and makes room for more. */
const renewed = (
  config: ModelConfig,
  layer: number,
  old: LayerBuffer,
  windows: LayerWindows | undefined,
  position: number
): LayerBuffer => {
  const starts = old.starts.map((_, head) => windows?.start(head, position) ?? 0)
  const first = starts.reduce((a, b) => Math.min(a, b))
  const kept = [...old.positions.keys()].filter((row) => {
    const key = old.positions[row] ?? 0
    return key >= first || key < (windows?.sink ?? 0)
  })
  const source: Source = (h) => ({ k: old.k, v: old.v, at: h * old.capacity * config.headDim })
  const positions = kept.map((row) => old.positions[row] ?? 0)
  return buffer(config, layer, source, kept, positions, windows !== undefined)
}

/** Starts from the cache of the prompt. */
export const make = (config: ModelConfig, prompt: KvCache, windows: Windows): DecodeCache => {
  const { headDim } = config
  const buffers = prompt.layers.map((heads, layer) => {
    const all = [...range(0, prompt.length)]
    const source: Source = (h) => {
      const head = heads[h]
      if (head === undefined) throw new RangeError(`there is no KV head ${h}`)
      return { ...head, at: 0 }
    }
    const whole = buffer(config, layer, source, all, all, windows !== undefined)
    return windows === undefined ? whole : renewed(config, layer, whole, windows[layer], prompt.length)
  })
  return {
    feeds: (position) => {
      const feeds: Record<string, Tensor> = {}
      for (const [layer, of] of buffers.entries()) {
        show(of, windows?.[layer], position)
        Object.assign(feeds, of.feeds)
      }
      return feeds
    },
    add: (position, outputs) => {
      for (const [layer, full] of buffers.entries()) {
        const room = full.positions.length < full.capacity
        const of = room ? full : renewed(config, layer, full, windows?.[layer], position)
        buffers[layer] = of
        const row = of.positions.push(position) - 1
        const [k, v] = [outputs.float(ofLayer(layer, "new_k")), outputs.float(ofLayer(layer, "new_v"))]
        for (let h = 0; h < config.kvHeads; h++) {
          const at = (h * of.capacity + row) * headDim
          of.k.set(k.subarray(h * headDim, (h + 1) * headDim), at)
          of.v.set(v.subarray(h * headDim, (h + 1) * headDim), at)
        }
        // A head's window only moves forward: it keeps the newest key.
        for (const head of of.starts.keys()) of.mask[head * (of.capacity + 1) + row] = 0
      }
    }
  }
}
