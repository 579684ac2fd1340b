/**
 * Influence of long sequences: forward with stored layer inputs, then layer by layer backward, tile by tile, so that no
 * attention matrix is ever whole.
 */
import type { InfluenceRequest, InfluenceResult, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { headBatches, putTile, queryRows, range, takeTile } from "../Attend.js"
import { type Executor, qkvFeeds, type Range, split } from "../Executor.js"
import { type LayerRecord, prefill, type Ranges, rangesOf } from "../Forward.js"
import { group } from "../graphs/Layout.js"
import * as KvCache from "../KvCache.js"
import { floats, int32s, int64s, rows } from "../Tensors.js"
import { countedTokens, padded, placeSums, type Tiling } from "./Tiling.js"

const LOGITS = 1 << 24

/** The mean objective over counted tokens, and its gradient with respect to the last layer's output. */
const head = (
  { config, sessions, weights }: Executor,
  request: InfluenceRequest,
  x: Float32Array
): Effect.Effect<{ readonly loss: number; readonly dx: Float32Array }, RuntimeError> =>
  Effect.gen(function* () {
    const { hidden } = config
    const { tokens, objective } = request
    const counted = countedTokens(request)
    const dx = new Float32Array(x.length)
    let sum = 0
    const size = Math.max(1, Math.floor(LOGITS / config.vocabulary))
    for (let from = 0; from < counted.length; from += size) {
      const part = counted.slice(from, from + size)
      const input = new Float32Array(part.length * hidden)
      part.forEach((i, row) => input.set(x.subarray((i - 1) * hidden, i * hidden), row * hidden))
      const outputs = yield* sessions.run(`head-backward-${objective}`, {
        x: floats(input, [part.length, hidden]),
        labels: int64s(
          part.map((i) => tokens[i] ?? 0),
          [part.length, 1]
        ),
        scale: floats(Float32Array.of(1 / counted.length), []),
        ...weights.head
      })
      for (const loss of outputs.float("loss")) sum += loss
      const gradient = outputs.float("dx")
      part.forEach((i, row) => dx.set(gradient.subarray(row * hidden, (row + 1) * hidden), (i - 1) * hidden))
    }
    return { loss: sum / counted.length, dx }
  })

const addTo = (into: Float32Array, at: number, values: Float32Array): void => {
  for (let i = 0; i < values.length; i++) into[at + i] = (into[at + i] ?? 0) + (values[i] ?? 0)
}

/**
 * One layer backward: the block sums of its attention, and the gradient of its input.
 *
 * @param dy gradient of the layer's output [padded, hidden]
 */
const layerBackward = (
  executor: Executor,
  index: number,
  { x, o }: LayerRecord,
  heads: ReadonlyArray<KvCache.HeadCache>,
  { padded, blocks, block }: Tiling,
  ranges: Ranges,
  sum: "signed" | "abs",
  dy: Float32Array
): Effect.Effect<{ readonly sums: Float32Array; readonly dx: Float32Array }, RuntimeError> =>
  Effect.gen(function* () {
    const { config, sessions, weights } = executor
    const { hidden, headDim, kvHeads } = config
    const perHead = group(config)
    const layer = weights.layers[index]
    if (layer === undefined) return yield* Effect.dieMessage(`there is no layer ${index}`)
    // Nothing is before the first layer: its input needs no gradient.
    const first = index === 0
    const around = new Float32Array(x.length)
    const sums = new Float32Array(kvHeads * perHead * blocks * blocks)
    const dk = new Float32Array(kvHeads * padded * headDim)
    const dv = new Float32Array(kvHeads * padded * headDim)
    const dqs: Array<Float32Array> = []
    // Rows that the loss does not reach have neither influence nor gradients.
    const reached = ([from, to]: Range) => dy.subarray(from * hidden, to * hidden).some((d) => d !== 0)

    for (const [c, [from, to]] of ranges.chunks.entries()) {
      const of = (to - from) * perHead
      const dq = new Float32Array(kvHeads * of * headDim)
      dqs.push(dq)
      const tiles = split(from, to, ranges.tile).filter(reached)
      if (tiles.length === 0) continue
      const input = rows(x, hidden, from, to)
      const oChunk = o[c] ?? new Float32Array(0)
      const outer = yield* sessions.run("post-backward", {
        x: input,
        o: floats(oChunk, [kvHeads, of, headDim]),
        dy: rows(dy, hidden, from, to),
        ...layer.post
      })
      around.set(outer.float("dx"), from * hidden)
      const dO = outer.float("d_o")
      const q = (yield* sessions.run("q", { x: input, ...qkvFeeds(executor, layer, from, to) })).float("q")
      for (const [start, end] of tiles) {
        const rowsOf = [(start - from) * perHead, (end - from) * perHead] as const
        const count = rowsOf[1] - rowsOf[0]
        for (const batch of headBatches(kvHeads, count, end)) {
          const tile = { heads: batch, rows: rowsOf, of }
          const cached = heads.slice(...batch)
          const size = cached.length
          const part = (chunk: Float32Array) => floats(takeTile(chunk, tile, headDim), [size, count, headDim])
          const outputs = yield* sessions.run(
            first ? `attend-backward-${sum}-only` : `attend-backward-${sum}`,
            {
              q: part(q),
              k: floats(KvCache.joined(cached, "k", headDim, end), [size, end, headDim]),
              v: floats(KvCache.joined(cached, "v", headDim, end), [size, end, headDim]),
              o: part(oChunk),
              d_o: part(dO),
              query_position: int32s(queryRows(start, end, perHead), [count, 1]),
              key_position: int32s(range(0, end), [1, end]),
              block_shape: int64s([size, (end - start) / block, block, perHead, end / block, block], [6])
            }
          )
          const into = { heads: batch, perHead, blocks, rows: [start / block, end / block] } as const
          placeSums(sums, outputs.float("e"), into)
          if (first) continue
          putTile(dq, tile, headDim, outputs.float("dq"))
          cached.forEach((_, i) => {
            const part = [i * end * headDim, (i + 1) * end * headDim] as const
            const at = (batch[0] + i) * padded * headDim
            addTo(dk, at, outputs.float("dk").subarray(...part))
            addTo(dv, at, outputs.float("dv").subarray(...part))
          })
        }
      }
    }
    if (first) return { sums, dx: around }

    const dx = new Float32Array(x.length)
    for (const [c, [from, to]] of ranges.chunks.entries()) {
      const tile = { heads: [0, kvHeads], rows: [from, to], of: padded } as const
      const part = (of: Float32Array) => floats(takeTile(of, tile, headDim), [kvHeads, to - from, headDim])
      const outputs = yield* sessions.run("qkv-backward", {
        x: rows(x, hidden, from, to),
        dq: floats(dqs[c] ?? new Float32Array(0), [kvHeads, (to - from) * perHead, headDim]),
        dk: part(dk),
        dv: part(dv),
        dx_around: rows(around, hidden, from, to),
        ...qkvFeeds(executor, layer, from, to)
      })
      dx.set(outputs.float("dx"), from * hidden)
    }
    return { sums, dx }
  })

/** Layer by layer: memory holds the layers' inputs, and one tile's scores. */
export const byLayers = (
  executor: Executor,
  request: InfluenceRequest,
  tiling: Tiling
): Effect.Effect<InfluenceResult, RuntimeError> =>
  Effect.gen(function* () {
    // Tiles are whole blocks.
    const ranges = rangesOf(executor.config, tiling.padded, tiling.block)
    const cache = KvCache.make(executor.config, tiling.padded)
    const records: Array<LayerRecord> = []
    const needed = request.mask.findIndex((counted, i) => counted && i > 0) - 1
    const x = yield* prefill(executor, padded(request, tiling), cache, undefined, needed, {
      ranges,
      visit: (record) => records.push(record)
    })
    const { loss, dx } = yield* head(executor, request, x)
    const layers: Array<Float32Array> = []
    let dy = dx
    for (let l = records.length - 1; l >= 0; l--) {
      const record = records.pop()
      const heads = cache.layers[l]
      if (record === undefined || heads === undefined)
        return yield* Effect.dieMessage(`there is no layer ${l}`)
      const back = yield* layerBackward(executor, l, record, heads, tiling, ranges, request.sum, dy)
      layers.unshift(back.sums)
      dy = back.dx
    }
    return { loss, blocks: tiling.blocks, layers }
  })
