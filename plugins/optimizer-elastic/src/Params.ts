/**
 * What an optimisation is asked for.
 */
import { elastic, Grouping, PlannedLength, RuleFamily } from "@tessera/attention"
import { Schema } from "effect"
import { Budget } from "./Budget.js"

const Share = Schema.Number.pipe(Schema.greaterThan(0), Schema.lessThanOrEqualTo(1))

/** One share for all lengths, or one per length: `{ "1024": 0.5, "2048": 0.25 }`. */
export const Density = Schema.Union(
  Share,
  Schema.Record({ key: Schema.String.pipe(Schema.pattern(/^[1-9]\d*$/)), value: Share })
)
export type Density = typeof Density.Type

const withDefault = <A, I>(schema: Schema.Schema<A, I>, value: NoInfer<A>) =>
  Schema.optionalWith(schema, { default: () => value })
const exact = { exact: true } as const

export const ElasticParams = Schema.Struct({
  /**
   * The most tokens that heads may keep on average, as a share of N, at each profiled length and each of
   * `extendLengths`: a mean over KV heads, or over query heads where they have rules of their own. The short form of a
   * `densityBudget`.
   */
  density: Schema.optionalWith(Density, exact),
  /** The fewest. */
  lowerDensity: Schema.optionalWith(Density, exact),
  /** Lengths that were not profiled, where densities without lengths of their own also hold. */
  extendLengths: withDefault(Schema.Array(Schema.Int.pipe(Schema.positive())), []),
  /** Further budgets: densities of single lengths or layers, memory, measured latency. All hold at once. */
  budgets: withDefault(Schema.Array(Budget), []),
  /** The rules to choose from: those of all families together. */
  families: withDefault(Schema.NonEmptyArray(RuleFamily), [elastic("fine")]),
  grouping: withDefault(Grouping, "kv-head"),
  /** Heads that must have the same rule: none, those of a layer, or all. */
  share: withDefault(Schema.Literal("head", "layer", "model"), "head"),
  /** How losses of the query heads of one KV head become one: their sum, or the largest per window. */
  groupLoss: withDefault(Schema.Literal("sum", "max"), "sum"),
  /** The most different rules in one layer; without it, any number. */
  maxRulesPerLayer: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), exact),
  /** The fewest blocks of a window. One block alone lets a block's first query see nothing before it. */
  minWindow: withDefault(Schema.Int.pipe(Schema.positive()), 2),
  /**
   * `pareto`: the losses at the profiled lengths are objectives of their own; gives a set of plans of which none is
   * better at all lengths. `sum`: one plan, the least sum of the losses, each as a share of its length's range.
   * `minimax`: one plan, the least largest of these shares.
   */
  objectives: withDefault(Schema.Literal("pareto", "sum", "minimax"), "pareto"),
  /** What the share of a length counts in sums and of the largest, by length: `{ "8192": 2 }`. Others count 1. */
  weights: withDefault(
    Schema.Record({
      key: Schema.String.pipe(Schema.pattern(/^[1-9]\d*$/)),
      value: Schema.Number.pipe(Schema.positive())
    }),
    {}
  ),
  /**
   * How a front is looked for. `grid`: levels of the losses, evenly spaced (ε-constraint). `adaptive`: the largest gap
   * between known plans first, until the whole front is known or `problems` are solved.
   */
  front: withDefault(Schema.Literal("grid", "adaptive"), "grid"),
  /** Points per objective, ends included, of the grid. */
  points: withDefault(Schema.Int.pipe(Schema.greaterThanOrEqualTo(2)), 5),
  /** The most problems that an adaptive front takes, beside those for single lengths. */
  problems: withDefault(Schema.Int.pipe(Schema.positive()), 100),
  /** Keeps this many plans at most: the first of the order that the stage states. */
  maxCandidates: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), exact),
  /**
   * `decomposition`: prices on the budgets, layer by layer, and HiGHS for what they do not decide. `highs`: the whole
   * mixed-integer program by HiGHS, slower and for comparison.
   */
  solver: withDefault(Schema.Literal("decomposition", "highs"), "decomposition"),
  /** Seconds for one problem. A problem that reaches it gives its best plan so far, which says so. */
  timeLimit: withDefault(Schema.Number.pipe(Schema.positive()), 60),
  /** The relative gap between a plan's loss and the proven bound at which it counts as optimal. */
  gap: withDefault(Schema.Number.pipe(Schema.nonNegative()), 1e-3),
  /** What N is in the plan's rules. The lengths profiled are those of prompt and answer together. */
  length: withDefault(PlannedLength, "prompt+new"),
  /** Starts the plans' names: `moa-25-1`. */
  name: withDefault(Schema.NonEmptyString, "moa")
}).annotations({ identifier: "ElasticParams" })
export type ElasticParams = typeof ElasticParams.Type
