/**
 * Influence of attention values on the loss, by the way that fits the sequence.
 */
import {
  addInfluences,
  checkInfluence,
  checkInfluences,
  type InfluenceItem,
  type InfluenceOptions,
  type InfluenceRequest,
  type InfluenceResult,
  reduceBlocks,
  type RuntimeError
} from "@tessera/runtime"
import { Effect } from "effect"
import type { Executor } from "../Executor.js"
import { NAME } from "../Sessions.js"
import { atOnce, fitsAtOnce } from "./AtOnce.js"
import { byLayers } from "./ByLayers.js"

const blockSums = (
  executor: Executor,
  request: InfluenceRequest
): Effect.Effect<InfluenceResult, RuntimeError> => {
  const block = Math.min(request.block, request.tokens.length)
  const blocks = Math.ceil(request.tokens.length / block)
  const tiling = { block, blocks, padded: blocks * block }
  const way = fitsAtOnce(executor, tiling) ? atOnce : byLayers
  return way(executor, request, tiling)
}

export const influence = (
  executor: Executor,
  request: InfluenceRequest
): Effect.Effect<InfluenceResult, RuntimeError> =>
  Effect.zipRight(
    checkInfluence(NAME, executor.config, request, request),
    Effect.map(blockSums(executor, request), (result) => reduceBlocks(result, request))
  )

/** Holds two items' sums at once at most. */
export const influenceSum = (
  executor: Executor,
  items: ReadonlyArray<InfluenceItem>,
  options: InfluenceOptions
): Effect.Effect<InfluenceResult, RuntimeError> =>
  Effect.zipRight(
    checkInfluences(NAME, executor.config, items, options),
    Effect.reduce(items, addInfluences([], options), (sum, item) =>
      Effect.map(influence(executor, { ...options, ...item }), (one) =>
        addInfluences(sum.layers.length === 0 ? [one] : [sum, one], options)
      )
    )
  )
