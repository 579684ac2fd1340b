/**
 * A few new tokens after cached ones, in one run per layer.
 */
import type { RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { queryRows, range, windowRows } from "./Attend.js"
import { embed, type Executor, positionFeeds } from "./Executor.js"
import { group } from "./graphs/Layout.js"
import * as KvCache from "./KvCache.js"
import type { Feeds } from "./Sessions.js"
import { floats, int32s, int64s, rows } from "./Tensors.js"
import type { Windows } from "./Windows.js"

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
        const start = Math.min(
          Math.max(
            low.reduce((a, b) => Math.min(a, b)),
            sink
          ),
          from
        )
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
