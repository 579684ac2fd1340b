/**
 * Elastic span rules and the one definition of span, window and mask that optimizer, validator, runtime and kernels
 * share (MoA, arXiv 2406.14909 §4, with the sink inside the budget).
 */
import { Schema } from "effect"

/** What beta multiplies: N itself, its square root, or its logarithm to base 2. */
export const Growth = Schema.Literal("linear", "sqrt", "log2")
export type Growth = typeof Growth.Type

/**
 * span(N) = min(alpha + beta * g(N), cap) tokens, before clamping and rounding. MoA's rules are linear without a cap; the
 * paper leaves bounded and non-linear ones to future work.
 */
export const Rule = Schema.Struct({
  alpha: Schema.Finite,
  beta: Schema.Finite,
  /** g; `linear` where absent. */
  growth: Schema.optionalWith(Growth, { exact: true }),
  /** Tokens that the span never exceeds, the sink included; no cap where absent. */
  cap: Schema.optionalWith(Schema.Finite.pipe(Schema.positive()), { exact: true })
}).annotations({ identifier: "Rule" })
export type Rule = typeof Rule.Type

/** How tokens are grouped. All rules of a plan share one geometry. */
export const Geometry = Schema.Struct({
  /** Tokens per block. */
  block: Schema.Int.pipe(Schema.positive()),
  /** Tokens at the start that every query keeps; a multiple of `block`. Part of the span. */
  sink: Schema.Int.pipe(Schema.nonNegative()),
  /** The fewest blocks a window may have, its own diagonal block included. */
  minWindow: Schema.Int.pipe(Schema.positive())
})
  .pipe(Schema.filter((g) => g.sink % g.block === 0 || "the sink must be a whole number of blocks"))
  .annotations({ identifier: "Geometry" })
export type Geometry = typeof Geometry.Type

export const dense: Rule = { alpha: 0, beta: 1 }

/** g(N). */
export const grown = (growth: Growth | undefined, length: number): number =>
  growth === "sqrt" ? Math.sqrt(length) : growth === "log2" ? Math.log2(length) : length

/** Tokens that a rule asks for at length N, before clamping and rounding. */
export const askedTokens = ({ alpha, beta, cap = Infinity, growth }: Rule, length: number): number =>
  Math.min(alpha + beta * grown(growth, length), cap)

/** Whether a rule is alpha + beta * N and nothing else, as all rules of the official system are. */
export const isLinear = ({ cap, growth = "linear" }: Rule): boolean =>
  growth === "linear" && cap === undefined

/** Whether two rules ask for the same at every length. */
export const sameRule = (a: Rule, b: Rule): boolean =>
  a.alpha === b.alpha &&
  a.beta === b.beta &&
  (a.growth ?? "linear") === (b.growth ?? "linear") &&
  a.cap === b.cap

/** Blocks that `length` tokens fill, the last one perhaps in part. */
export const blocks = (geometry: Geometry, length: number): number => Math.ceil(length / geometry.block)

/** Blocks in the sink. */
export const sinkBlocks = (geometry: Geometry): number => geometry.sink / geometry.block

/**
 * The span in blocks, sink included: what the rule asks for rounded down to whole blocks, at least the sink and the
 * smallest window, at most all blocks of N. With beta >= 0 it never shrinks from one whole-block length to a longer one; where
 * a rule stops being dense between two block edges it may lose the partial last block.
 */
export const spanBlocks = (rule: Rule, geometry: Geometry, length: number): number => {
  const tokens = askedTokens(rule, length)
  const least = sinkBlocks(geometry) + geometry.minWindow
  // A rule that asks for the whole length is dense, even where the last block is partial.
  const asked = tokens >= length ? blocks(geometry, length) : Math.floor(tokens / geometry.block)
  return Math.min(Math.max(asked, least), blocks(geometry, length))
}

/**
 * The window in blocks at length N, the diagonal block included: a query in block i keeps key blocks j with
 * i - window < j <= i, and the sink.
 */
export const windowBlocks = (rule: Rule, geometry: Geometry, length: number): number =>
  Math.max(spanBlocks(rule, geometry, length) - sinkBlocks(geometry), Math.min(1, blocks(geometry, length)))

/** Tokens that one KV head caches at length N. */
export const cachedTokens = (rule: Rule, geometry: Geometry, length: number): number =>
  Math.min(spanBlocks(rule, geometry, length) * geometry.block, length)

/** Whether query position q keeps key position k, given a window in blocks. */
export const keeps = (geometry: Geometry, window: number, q: number, k: number): boolean =>
  k <= q && (k < geometry.sink || Math.floor(k / geometry.block) > Math.floor(q / geometry.block) - window)
