/**
 * Influence of attention values on the loss: forward with stored layer inputs, then layer by layer backward, tile by
 * tile, so that memory holds one tile's scores and never a whole attention matrix.
 */
import { type InfluenceRequest, type InfluenceResult, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { checkTokens } from "./Checks.js"
import {
  type Executor,
  headBatches,
  type LayerRecord,
  prefill,
  qkvFeeds,
  queryRows,
  range
} from "./Forward.js"
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

interface Tiles {
  /** Tokens, a whole number of blocks. */
  readonly padded: number
  readonly blocks: number
  readonly block: number
  /** Token ranges of whole blocks. */
  readonly ranges: ReadonlyArray<readonly [from: number, to: number]>
}

/** Puts a tile's sums [KV head, query block, group, key block] into [query head, query block, key block]. */
const place = (
  e: Float32Array,
  sums: Float32Array,
  { first, last, perHead, blocks }: Readonly<Record<"first" | "last" | "perHead" | "blocks", number>>,
  from: number,
  to: number
): void => {
  let start = 0
  for (let h = first; h < last; h++) {
    for (let row = from; row < to; row++) {
      for (let g = 0; g < perHead; g++, start += to) {
        sums.set(e.subarray(start, start + to), ((h * perHead + g) * blocks + row) * blocks)
      }
    }
  }
}

/** Query tokens per tile of the backward pass. */
const TILE = 256

const tiles = (length: number, block: number): Tiles => {
  const blocks = Math.ceil(length / block)
  const size = Math.max(1, Math.floor(TILE / block))
  const ranges = Array.from(
    { length: Math.ceil(blocks / size) },
    (_, i) => [i * size * block, Math.min((i + 1) * size, blocks) * block] as const
  )
  return { padded: blocks * block, blocks, block, ranges }
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
  { padded, blocks, block, ranges }: Tiles,
  sum: "signed" | "abs",
  dy: Float32Array
): Effect.Effect<{ readonly sums: Float32Array; readonly dx: Float32Array }, RuntimeError> =>
  Effect.gen(function* () {
    const { config, sessions, weights } = executor
    const { hidden, headDim, kvHeads } = config
    const perHead = group(config)
    const layer = weights.layers[index]
    if (layer === undefined) return yield* Effect.dieMessage(`there is no layer ${index}`)
    const around = new Float32Array(x.length)
    const sums = new Float32Array(kvHeads * perHead * blocks * blocks)
    const dk = new Float32Array(kvHeads * padded * headDim)
    const dv = new Float32Array(kvHeads * padded * headDim)
    const dqs: Array<Float32Array> = []

    for (const [t, [from, to]] of ranges.entries()) {
      const count = (to - from) * perHead
      const input = rows(x, hidden, from, to)
      const shape = [kvHeads, count, headDim]
      const outer = yield* sessions.run("post-backward", {
        x: input,
        o: floats(o[t] ?? new Float32Array(0), shape),
        dy: rows(dy, hidden, from, to),
        ...layer.post
      })
      around.set(outer.float("dx"), from * hidden)
      const dO = outer.float("d_o")
      const q = (yield* sessions.run("qkv", { x: input, ...qkvFeeds(executor, layer, from, to) })).float("q")
      const dq = new Float32Array(q.length)
      const width = count * headDim
      for (const [first, last] of headBatches(kvHeads, count, to)) {
        const batch = heads.slice(first, last)
        const size = batch.length
        const part = (values: Float32Array) =>
          floats(values.subarray(first * width, last * width), [size, count, headDim])
        const outputs = yield* sessions.run(`attend-backward-${sum}`, {
          q: part(q),
          k: floats(KvCache.joined(batch, "k", headDim, to), [size, to, headDim]),
          v: floats(KvCache.joined(batch, "v", headDim, to), [size, to, headDim]),
          d_o: part(dO),
          query_position: int32s(queryRows(from, to, perHead), [count, 1]),
          key_position: int32s(range(0, to), [1, to]),
          block_shape: int64s([size, (to - from) / block, block, perHead, to / block, block], [6])
        })
        dq.set(outputs.float("dq"), first * width)
        batch.forEach((_, i) => {
          const of = [i * to * headDim, (i + 1) * to * headDim] as const
          addTo(dk, (first + i) * padded * headDim, outputs.float("dk").subarray(...of))
          addTo(dv, (first + i) * padded * headDim, outputs.float("dv").subarray(...of))
        })
        place(outputs.float("e"), sums, { first, last, perHead, blocks }, from / block, to / block)
      }
      dqs.push(dq)
    }
    // Nothing is before the first layer.
    if (index === 0) return { sums, dx: around }

    const dx = new Float32Array(x.length)
    const part = (of: Float32Array, from: number, to: number) => {
      const size = (to - from) * headDim
      const tokens = new Float32Array(kvHeads * size)
      for (let h = 0; h < kvHeads; h++) {
        const at = (h * padded + from) * headDim
        tokens.set(of.subarray(at, at + size), h * size)
      }
      return floats(tokens, [kvHeads, to - from, headDim])
    }
    for (const [t, [from, to]] of ranges.entries()) {
      const outputs = yield* sessions.run("qkv-backward", {
        x: rows(x, hidden, from, to),
        dq: floats(dqs[t] ?? new Float32Array(0), [kvHeads, (to - from) * perHead, headDim]),
        dk: part(dk, from, to),
        dv: part(dv, from, to),
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
    const plan = tiles(request.tokens.length, request.block)
    // Padding comes after everything, where causality hides it: its rows have no gradient, its keys no reader.
    const tokens = new Int32Array(plan.padded)
    tokens.set(request.tokens)
    const cache = KvCache.make(executor.config, plan.padded)
    const records: Array<LayerRecord> = []
    const x = yield* prefill(executor, tokens, cache, undefined, {
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
