/**
 * Influence of short sequences: the whole model forward and backward in one run.
 */
import type { InfluenceRequest, InfluenceResult, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { queryRows, range } from "../Attend.js"
import { embed, type Executor, positionFeeds } from "../Executor.js"
import { group, ofLayer } from "../graphs/Layout.js"
import { floats, int32s, int64s } from "../Tensors.js"
import { countedTokens, padded, placeSums, type Tiling } from "./Tiling.js"

/**
 * Whether all layers may go in one run: it holds the scores of every layer, and a few more arrays of their size; and it
 * cannot be interrupted, so wide models go layer by layer.
 */
export const fitsAtOnce = ({ config, scoreMemory }: Executor, { padded }: Tiling): boolean =>
  config.hidden < 1024 &&
  (config.layers + 6) * config.queryHeads * padded ** 2 * Float32Array.BYTES_PER_ELEMENT <= scoreMemory

/** All layers in one run: memory holds every layer's scores. */
export const atOnce = (
  executor: Executor,
  request: InfluenceRequest,
  tiling: Tiling
): Effect.Effect<InfluenceResult, RuntimeError> =>
  Effect.gen(function* () {
    const { config, sessions, weights } = executor
    const { kvHeads, queryHeads, hidden } = config
    const { padded: tokens, blocks, block } = tiling
    const perHead = group(config)
    const counted = countedTokens(request)
    const outputs = yield* sessions.run(`influence-${request.objective}-${request.sum}`, {
      ...weights.all,
      ...positionFeeds(executor, 0, tokens),
      x: floats(embed(executor, padded(request, tiling)), [tokens, hidden]),
      query_position: int32s(queryRows(0, tokens, perHead), [tokens * perHead, 1]),
      key_position: int32s(range(0, tokens), [1, tokens]),
      block_shape: int64s([kvHeads, blocks, block, perHead, blocks, block], [6]),
      counted_rows: int64s(
        counted.map((i) => i - 1),
        [counted.length, 1]
      ),
      labels: int64s(
        counted.map((i) => request.tokens[i] ?? 0),
        [counted.length, 1]
      ),
      scale: floats(Float32Array.of(1 / counted.length), [])
    })
    const whole = { heads: [0, kvHeads], rows: [0, blocks], perHead, blocks } as const
    const layers = weights.layers.map((_, layer) => {
      const sums = new Float32Array(queryHeads * blocks * blocks)
      placeSums(sums, outputs.float(ofLayer(layer, "e")), whole)
      return sums
    })
    return { loss: outputs.float("loss").reduce((a, b) => a + b, 0) / counted.length, blocks, layers }
  })
