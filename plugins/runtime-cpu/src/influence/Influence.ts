/**
 * Influence of attention values on the loss, by the way that fits the sequence.
 */
import { type InfluenceRequest, type InfluenceResult, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { checkTokens } from "../Checks.js"
import type { Executor } from "../Executor.js"
import { NAME } from "../Sessions.js"
import { atOnce, fitsAtOnce } from "./AtOnce.js"
import { byLayers } from "./ByLayers.js"

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

export const influence = (
  executor: Executor,
  request: InfluenceRequest
): Effect.Effect<InfluenceResult, RuntimeError> =>
  Effect.gen(function* () {
    yield* check(executor, request)
    const block = Math.min(request.block, request.tokens.length)
    const blocks = Math.ceil(request.tokens.length / block)
    const tiling = { block, blocks, padded: blocks * block }
    const way = fitsAtOnce(executor, tiling) ? atOnce : byLayers
    return yield* way(executor, request, tiling)
  })
