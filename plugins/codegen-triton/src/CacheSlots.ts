/**
 * What the cache of an emitted package keeps: per KV head a sink and a ring of whole blocks, back to back.
 */
import { layerWindows, type Plan } from "@tessera/attention"

/**
 * Slots (tokens) of each KV head of a layer planned for length N: the sink, and the longest window among its query
 * heads. At whole-block lengths longer than the sink that is what `cachedTokensPerKvHead` says; other lengths are
 * rounded up, and a window has a block even where the sink holds all of N, for the tokens that follow.
 */
export const cacheSlots = (plan: Plan, layer: number, length: number): ReadonlyArray<number> => {
  const { geometry, model } = plan
  const group = model.queryHeads / model.kvHeads
  const windows = layerWindows(plan, layer, length)
  return Array.from(
    { length: model.kvHeads },
    (_, kv) => geometry.sink + Math.max(...windows.slice(kv * group, (kv + 1) * group)) * geometry.block
  )
}
