/**
 * What a plan may take: KV cache as a share of the dense one, KV cache in GiB, or measured time. Values that travel in
 * parameters.
 */
import { Schema } from "effect"

const exact = { exact: true } as const
const Positive = Schema.Finite.pipe(Schema.positive())
const Whole = Schema.Int.pipe(Schema.positive())
const Share = Schema.Finite.pipe(Schema.greaterThan(0), Schema.lessThanOrEqualTo(1))
/** Sequences that are in memory or run at once. */
const Batch = Schema.optionalWith(Whole, exact)

const DensityBudget = Schema.Struct({
  budget: Schema.Literal("density"),
  /** Bounds on the mean over heads of cached tokens / N. */
  most: Schema.optionalWith(Share, exact),
  least: Schema.optionalWith(Share, exact),
  /** Where it holds; where absent, at each profiled length and each of `extendLengths`. */
  lengths: Schema.optionalWith(Schema.Array(Whole).pipe(Schema.minItems(1)), exact),
  /** Whether the mean is over the heads of the model, or over those of each layer by itself. */
  per: Schema.Literal("model", "layer")
}).pipe(
  Schema.filter(
    ({ least, most }) =>
      (least === undefined && most === undefined
        ? "a density budget has most, or least, or both"
        : (least ?? 0) <= (most ?? 1)) || `least ${least} is above most ${most}`
  )
)

const MemoryBudget = Schema.Struct({
  budget: Schema.Literal("memory"),
  /** The most that the KV caches of a batch take; 1 GiB is 2^30 bytes. */
  gib: Positive,
  length: Whole,
  batch: Batch,
  bytesPerElement: Positive
})

/** What was measured: the time of one decoded token, or of whatever else is bounded, of one head or layer at a length. */
export const LatencyRow = Schema.Struct({
  length: Whole,
  /** Tokens that a head keeps, or that each head of a layer does. */
  tokens: Whole,
  milliseconds: Schema.Finite.pipe(Schema.nonNegative())
})
export type LatencyRow = typeof LatencyRow.Type

const LatencyBudget = Schema.Struct({
  budget: Schema.Literal("latency"),
  /** The most that all heads of all layers take for a batch. */
  milliseconds: Positive,
  length: Whole,
  /** Multiplies the table's times; 1 where the table was measured with the whole batch. */
  batch: Batch,
  /** Whether the table's times are of one head, or of one layer whose heads all keep as much. */
  of: Schema.Literal("head", "layer"),
  table: Schema.Array(LatencyRow).pipe(Schema.minItems(1))
})

export const Budget = Schema.Union(DensityBudget, MemoryBudget, LatencyBudget).annotations({
  identifier: "Budget"
})
export type Budget = typeof Budget.Type
export type LatencyBudget = typeof LatencyBudget.Type
export type MemoryBudget = typeof MemoryBudget.Type

type Fields<B extends Budget["budget"]> = Omit<Extract<Budget, { readonly budget: B }>, "budget">

/** Cached tokens of all heads, the sink included, as a share of N · heads. */
export const densityBudget = (fields: Omit<Fields<"density">, "per">): Budget => ({
  budget: "density",
  per: "model",
  ...fields
})

/** The same of each layer by itself: none keeps more, or less, than the share. */
export const layerDensityBudget = (fields: Omit<Fields<"density">, "per">): Budget => ({
  budget: "density",
  per: "layer",
  ...fields
})

/** KV bytes of all heads and layers and of a batch of sequences of one length. */
export const memoryBudget = (fields: Fields<"memory">): Budget => ({ budget: "memory", ...fields })

/**
 * Time by a measured table: a head that keeps t tokens takes what the table says, linearly between the two rows around t,
 * and never beyond the first or last row of that length. A layer takes the mean of what its heads' spans would take.
 */
export const latencyBudget = (fields: Fields<"latency">): Budget => ({ budget: "latency", ...fields })
