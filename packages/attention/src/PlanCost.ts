/**
 * What a plan costs: cached tokens, densities, bytes, and the share of attention that prefill computes.
 */
import type { AttentionShape, Plan } from "./Plan.js"
import { askedTokens, blocks, type Geometry, isLinear, type Rule, sinkBlocks, windowBlocks } from "./Rule.js"

/**
 * Where the sink counts. `inside`: it is part of the span, as everywhere here and in the official MoA runtime. `on-top`:
 * it comes on top of a band of `floor(alpha / block) + beta * blocks` blocks, as in what the official optimizer bounds.
 */
export type SinkPlace = "inside" | "on-top"

/** Key blocks that the last query keeps of a prompt of `length` tokens, the sink included. */
export const keptBlocks = (rule: Rule, geometry: Geometry, length: number, sink: SinkPlace): number => {
  const total = blocks(geometry, length)
  if (sink === "inside") return Math.min(windowBlocks(rule, geometry, length) + sinkBlocks(geometry), total)
  const band = isLinear(rule)
    ? Math.floor(rule.alpha / geometry.block) + rule.beta * total
    : askedTokens(rule, length) / geometry.block
  return Math.min(Math.max(Math.trunc(band), 1) + sinkBlocks(geometry), total)
}

const keptTokens = (plan: Plan, length: number, sink: SinkPlace) =>
  plan.rules.map((rules) =>
    rules.map((rule) => Math.min(keptBlocks(rule, plan.geometry, length, sink) * plan.geometry.block, length))
  )

/**
 * Tokens each KV head of each layer caches at length N: the longest of the query heads that share it (a query-head
 * plan whose heads keep less than that can still mask, but its group caches what the longest needs).
 */
export const cachedTokensPerKvHead = (
  plan: Plan,
  length: number,
  sink: SinkPlace = "inside"
): ReadonlyArray<ReadonlyArray<number>> => {
  const tokens = keptTokens(plan, length, sink)
  if (plan.grouping === "kv-head") return tokens
  const group = plan.model.queryHeads / plan.model.kvHeads
  return tokens.map((heads) =>
    Array.from({ length: plan.model.kvHeads }, (_, kv) =>
      Math.max(...heads.slice(kv * group, (kv + 1) * group))
    )
  )
}

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)

/** Mean over KV heads of cached tokens / N: KV bytes against the dense cache of the same (GQA) model. */
export const density = (plan: Plan, length: number, sink: SinkPlace = "inside"): number => {
  const cached = cachedTokensPerKvHead(plan, length, sink).flat()
  return sum(cached) / (cached.length * length)
}

/**
 * Mean over the plan's own heads of cached tokens / N; differs from `density` only for query-head plans. With the sink
 * `on-top` and a `length` of whole blocks it is the density that the official optimizer bounds.
 */
export const headDensity = (plan: Plan, length: number, sink: SinkPlace = "inside"): number => {
  const cached = keptTokens(plan, length, sink).flat()
  return sum(cached) / (cached.length * length)
}

/** Share of the causal blocks of a prompt of N tokens that prefill computes, the mean over query heads. */
export const prefillShare = (plan: Plan, length: number, sink: SinkPlace = "inside"): number => {
  const total = blocks(plan.geometry, length)
  // Query block i has i + 1 causal key blocks, of which it keeps as many as the rule says.
  const computed = plan.rules.flat().map((rule) => {
    const kept = keptBlocks(rule, plan.geometry, length, sink)
    return (kept * (kept + 1)) / 2 + (total - kept) * kept
  })
  return sum(computed) / (computed.length * ((total * (total + 1)) / 2))
}

const elementBytes = (tokens: number, model: AttentionShape, bytesPerElement: number): number =>
  tokens * 2 * model.headDim * bytesPerElement

/** Bytes of keys and values that the plan keeps for one sequence of length N. */
export const kvBytes = (plan: Plan, length: number, bytesPerElement: number): number =>
  elementBytes(sum(cachedTokensPerKvHead(plan, length).flat()), plan.model, bytesPerElement)

/**
 * The same where every query head has keys and values of its own, as the official system runs models whose query heads
 * share KV heads: their weights are expanded first.
 */
export const expandedKvBytes = (plan: Plan, length: number, bytesPerElement: number): number => {
  const perRule = plan.grouping === "query-head" ? 1 : plan.model.queryHeads / plan.model.kvHeads
  return elementBytes(perRule * sum(keptTokens(plan, length, "inside").flat()), plan.model, bytesPerElement)
}

/** Bytes of keys and values of the dense model for one sequence of length N. */
export const denseKvBytes = (model: AttentionShape, length: number, bytesPerElement: number): number =>
  elementBytes(model.layers * model.kvHeads * length, model, bytesPerElement)
