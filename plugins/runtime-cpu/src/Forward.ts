/**
 * The forward pass over a whole prompt: layer by layer, in chunks of tokens, whose attention goes tile by tile.
 */
import type { ModelConfig, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { attend, tileSize } from "./Attend.js"
import { embed, type Executor, qkvFeeds, type Range, split } from "./Executor.js"
import { group } from "./graphs/Layout.js"
import * as KvCache from "./KvCache.js"
import { floats, rows } from "./Tensors.js"
import type { Windows } from "./Windows.js"

/**
 * Tokens per chunk: ONNX Runtime packs weights anew in every run, which many rows make up for; but a run cannot be
 * interrupted, so wide layers get fewer.
 */
const chunkSize = ({ hidden }: ModelConfig): number => (hidden < 1024 ? 1024 : 256)

/** Ranges of a pass: chunks of whole tiles. */
export interface Ranges {
  readonly chunks: ReadonlyArray<Range>
  /** Tokens per tile. */
  readonly tile: number
}

/** @param multiple what tiles must be a multiple of */
export const rangesOf = (config: ModelConfig, length: number, multiple = 1): Ranges => {
  const tile = Math.max(1, Math.floor(tileSize(length) / multiple)) * multiple
  return { tile, chunks: split(0, length, Math.max(1, Math.floor(chunkSize(config) / tile)) * tile) }
}

/** What a layer leaves for those who want to go back through it. */
export interface LayerRecord {
  /** The layer's input [tokens, hidden]. */
  readonly x: Float32Array
  /** Attention outputs by chunk, each [KV heads, chunk tokens · group, head dim]. */
  readonly o: ReadonlyArray<Float32Array>
}

/**
 * Fills an empty cache with a prompt and gives the last layer's output [tokens, hidden].
 *
 * @param needed the first token whose output is needed; those before it need not be right
 */
export const prefill = (
  executor: Executor,
  tokens: ArrayLike<number>,
  cache: KvCache.KvCache,
  windows: Windows,
  needed: number,
  record?: { readonly ranges: Ranges; readonly visit: (layer: LayerRecord) => void }
): Effect.Effect<Float32Array, RuntimeError> =>
  Effect.gen(function* () {
    const { config, sessions, weights } = executor
    const { hidden, headDim } = config
    const { chunks, tile } = record?.ranges ?? rangesOf(config, tokens.length)
    let x = embed(executor, tokens)
    for (const [l, layer] of weights.layers.entries()) {
      const heads = cache.layers[l] ?? []
      const y = new Float32Array(x.length)
      const outputs: Array<Float32Array> = []
      for (const [from, to] of chunks) {
        const input = rows(x, hidden, from, to)
        // After the last layer's keys and values nothing but the needed outputs is of use.
        const start = l === weights.layers.length - 1 ? needed : 0
        const kind = to <= start ? "kv" : "qkv"
        const projected = yield* sessions.run(kind, { x: input, ...qkvFeeds(executor, layer, from, to) })
        KvCache.write(heads, headDim, from, to - from, projected.float("k"), projected.float("v"))
        if (to <= start) {
          outputs.push(new Float32Array(0))
          continue
        }
        const tiles = split(from, to, tile).filter(([, end]) => end > start)
        const o = yield* attend(executor, heads, projected.float("q"), [from, to], tiles, windows?.[l])
        const after = yield* sessions.run("post", {
          x: input,
          o: floats(o, [config.kvHeads, (to - from) * group(config), headDim]),
          ...layer.post
        })
        y.set(after.float("y"), from * hidden)
        outputs.push(o)
      }
      record?.visit({ x, o: outputs })
      x = y
    }
    cache.length = tokens.length
    return x
  })
