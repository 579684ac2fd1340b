/**
 * Influence of attention values on the loss: forward with stored layer inputs, then layer by layer backward, tile by
 * tile, so that memory holds one tile's scores and never a whole attention matrix.
 */
import { type InfluenceRequest, type InfluenceResult, type ModelConfig, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { headBatches, putTile, queryRows, range, takeTile } from "./Attend.js"
import { checkTokens } from "./Checks.js"
import { type Executor, qkvFeeds, type Range, split } from "./Executor.js"
import { type LayerRecord, prefill, type Ranges, rangesOf } from "./Forward.js"
import { group } from "./graphs/Layer.js"
import * as KvCache from "./KvCache.js"
import { NAME } from "./Sessions.js"
import { floats, int32s, int64s, rows } from "./Tensors.js"

const LOGITS = 1 << 24

const invalid = (detail: string) => new RuntimeError({ reason: "InvalidRequest", runtime: NAME, detail })

const check = (
  { config }: Executor,
  { tokens, mask, block }: InfluenceRequest
): Effect.Effect<void, RuntimeError> => {
  if (mask.length !== tokens.length)
    return invalid(`the mask has ${mask.length} flags for ${tokens.length} tokens`)
  if (!Number.isInteger(block) || block < 1) return invalid(`the block is ${block}; give 1 or more tokens`)
  if (!mask.some((counted, i) => counted && i > 0)) return invalid("the mask counts no token's loss")
  return checkTokens(config, "tokens", tokens)
}

/** The mean objective over counted tokens, and its gradient with respect to the last layer's output. */
const head = (
  { config, sessions, weights }: Executor,
  { tokens, mask, objective }: InfluenceRequest,
  x: Float32Array
): Effect.Effect<{ readonly loss: number; readonly dx: Float32Array }, RuntimeError> =>
  Effect.gen(function* () {
    const { hidden } = config
    const counted = mask.flatMap((flag, i) => (flag && i > 0 ? [i] : []))
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

interface Tiling {
  /** Tokens, a whole number of blocks. */
  readonly padded: number
  readonly blocks: number
  readonly block: number
  /** Tiles are whole blocks. */
  readonly ranges: Ranges
}

const tiling = (config: ModelConfig, length: number, block: number): Tiling => {
  const blocks = Math.ceil(length / block)
  return { padded: blocks * block, blocks, block, ranges: rangesOf(config, blocks * block, block) }
}

/** Puts a tile's sums [KV head, query block, group, key block] into [query head, query block, key block]. */
const placeSums = (
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
  { padded, blocks, block, ranges }: Tiling,
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

export const influence = (
  executor: Executor,
  request: InfluenceRequest
): Effect.Effect<InfluenceResult, RuntimeError> =>
  Effect.gen(function* () {
    yield* check(executor, request)
    const plan = tiling(
      executor.config,
      request.tokens.length,
      Math.min(request.block, request.tokens.length)
    )
    // Padding comes after everything, where causality hides it: its rows have no gradient, its keys no reader.
    const tokens = new Int32Array(plan.padded)
    tokens.set(request.tokens)
    const cache = KvCache.make(executor.config, plan.padded)
    const records: Array<LayerRecord> = []
    const needed = request.mask.findIndex((counted, i) => counted && i > 0) - 1
    const x = yield* prefill(executor, tokens, cache, undefined, needed, {
      ranges: plan.ranges,
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
      const back = yield* layerBackward(executor, l, record, heads, plan, request.sum, dy)
      layers.unshift(back.sums)
      dy = back.dx
    }
    return { loss, blocks: plan.blocks, layers }
  })
