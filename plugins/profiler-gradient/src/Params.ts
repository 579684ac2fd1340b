/**
 * What is measured, and how it is summed.
 */
import { Schema } from "effect"

const fields = {
  /**
   * What is differentiated: `cross-entropy` is the paper's; the gradient of a confident answer vanishes there, that of
   * `log-odds` does not.
   */
  objective: Schema.optionalWith(Schema.Literal("log-odds", "cross-entropy"), {
    default: () => "log-odds" as const
  }),
  /** Tokens per block. */
  block: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 64 }),
  /** Tokens at the start that are never dropped; a multiple of `block`. */
  sink: Schema.optionalWith(Schema.Int.pipe(Schema.nonNegative()), { default: () => 64 }),
  /** Keep the block sums too, not only what windows cost: for optimizers with other shapes than windows. */
  keepBlocks: Schema.optionalWith(Schema.Boolean, { default: () => false })
}

const wholeBlocks = ({ block, sink }: { readonly block: number; readonly sink: number }) =>
  sink % block === 0 || "sink must be a multiple of block"

export const ProfileParams = Schema.Struct({
  ...fields,
  /**
   * How an item's influence is summed over what a window drops: `abs-sample` |Σ E|, `abs-entry` Σ |E| (the official
   * code's), `signed` Σ E (the paper's text).
   */
  aggregation: Schema.optionalWith(Schema.Literal("abs-sample", "abs-entry", "signed"), {
    default: () => "abs-sample" as const
  })
}).pipe(Schema.filter(wholeBlocks))
export type ProfileParams = typeof ProfileParams.Type

/** Sums of several items at once: what is absolute per item cannot be among them. */
export const ProfileLengthParams = Schema.Struct({
  ...fields,
  /** As for one item, of all items together: `abs-entry` Σ |E| (the official code's), `signed` Σ E (the paper's text). */
  aggregation: Schema.optionalWith(Schema.Literal("abs-entry", "signed"), {
    default: () => "abs-entry" as const
  })
}).pipe(Schema.filter(wholeBlocks))
export type ProfileLengthParams = typeof ProfileLengthParams.Type
