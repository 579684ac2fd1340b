/**
 * Families of rules: the spans that heads may have, as values that travel in parameters. An optimizer expands them to
 * rules for its lengths. Whoever has a family of her own gives a function that returns `rules(…)`.
 */
import { Schema } from "effect"
import { askedTokens, dense, type Growth, grown, Rule } from "./Rule.js"

const listOf = <A, I>(item: Schema.Schema<A, I>) => Schema.Array(item).pipe(Schema.minItems(1))
const Numbers = listOf(Schema.Finite)
const Tokens = Schema.Finite.pipe(Schema.positive())

/** Every pair of the values. */
const Pairs = Schema.Struct({ alphas: Numbers, betas: Numbers })
const Fine = Schema.Literal("fine")
const ElasticGrid = Schema.Union(Fine, Schema.Literal("official"), Pairs)
const CappedGrid = Schema.Union(
  Fine,
  Schema.Struct({ alphas: Numbers, betas: Numbers, caps: listOf(Tokens) })
)
const GrowthGrid = Schema.Union(Fine, Pairs)

export const RuleFamily = Schema.Union(
  Schema.Struct({ family: Schema.Literal("elastic"), grid: ElasticGrid }),
  Schema.Struct({ family: Schema.Literal("capped"), grid: CappedGrid }),
  Schema.Struct({ family: Schema.Literal("sqrt", "log2"), grid: GrowthGrid }),
  Schema.Struct({ family: Schema.Literal("fixed"), tokens: listOf(Tokens) }),
  Schema.Struct({ family: Schema.Literal("binary"), recent: Tokens }),
  Schema.Struct({ family: Schema.Literal("rules"), rules: listOf(Rule) })
).annotations({ identifier: "RuleFamily" })
export type RuleFamily = typeof RuleFamily.Type

/**
 * alpha + beta * N, MoA's rules (arXiv 2406.14909 §4). `fine`: beta in sixteenths, alpha 0 and powers of two around a
 * sixteenth of the shortest length. `official`: alpha in steps of 1,024 and beta in eighths, filtered as the MoA release
 * does; for lengths in thousands. Or every pair of given values. The dense rule is always among them, but for `official` at
 * lengths that are not whole thousands (of 1,024).
 */
export const elastic = (grid: typeof ElasticGrid.Type = "fine"): RuleFamily => ({ family: "elastic", grid })

/**
 * alpha + beta * N up to a cap. `fine`: alpha 0, beta and cap in sixteenths, the cap's of the longest profiled length: no
 * rule is dense beyond it.
 */
export const capped = (grid: typeof CappedGrid.Type = "fine"): RuleFamily => ({ family: "capped", grid })

/**
 * alpha + beta * √N. `fine`: alpha as in `elastic`, beta so that the part that grows is a number of sixteenths of the longest
 * profiled length there: no rule is dense much beyond it.
 */
export const sqrt = (grid: typeof GrowthGrid.Type = "fine"): RuleFamily => ({ family: "sqrt", grid })

/** alpha + beta * log2(N); otherwise as `sqrt`. */
export const log2 = (grid: typeof GrowthGrid.Type = "fine"): RuleFamily => ({ family: "log2", grid })

/** Spans, sink included, that do not grow. None is dense. */
export const fixed = (tokens: ReadonlyArray<number>): RuleFamily => ({ family: "fixed", tokens })

/** DuoAttention's two kinds of heads (arXiv 2410.10819): all tokens, or the sink and so many recent ones. */
export const binary = ({ recent }: { readonly recent: number }): RuleFamily => ({ family: "binary", recent })

/** These rules and no others. */
export const rules = (rules: ReadonlyArray<Rule>): RuleFamily => ({ family: "rules", rules })

/** All tokens; to be put beside families that have no dense rule. */
export const denseOnly: RuleFamily = rules([dense])

/** What a family is expanded for. */
export interface FamilySetting {
  /** Tokens. */
  readonly block: number
  /** Tokens. */
  readonly sink: number
  /** Lengths that were profiled; not empty. */
  readonly profiled: ReadonlyArray<number>
  /** Those and all others that a budget holds at. */
  readonly lengths: ReadonlyArray<number>
}

const STEPS = 16

const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)
const sixteenths = range(STEPS + 1).map((k) => k / STEPS)

const pairs = ({ alphas, betas }: typeof Pairs.Type, more: Partial<Rule> = {}): ReadonlyArray<Rule> =>
  alphas.flatMap((alpha) => betas.map((beta) => ({ alpha, beta, ...more })))

/**
 * Leaves out rules that ask for more than everything at the longest profiled or the longest of all lengths, or for nothing
 * at the shortest.
 *
 * @param slack tokens that count as rounding
 */
const sensible = (
  rules: ReadonlyArray<Rule>,
  { lengths, profiled }: FamilySetting,
  slack = 0
): ReadonlyArray<Rule> => {
  const shortest = Math.min(...lengths)
  const most = [Math.max(...profiled), Math.max(...lengths)]
  return rules.filter(
    (rule) =>
      most.every((length) => askedTokens(rule, length) <= length + slack) && askedTokens(rule, shortest) > 0
  )
}

/** Alphas from -shortest to the longest profiled length, evenly, about 1,024 tokens apart. */
const official = (setting: FamilySetting): ReadonlyArray<Rule> => {
  const shortest = Math.min(...setting.lengths)
  const longest = Math.max(...setting.profiled)
  const steps = Math.floor((longest + shortest) / 1024)
  const alphas = range(steps + 1).map((i) =>
    steps === 0 ? longest : -shortest + (i * (longest + shortest)) / steps
  )
  return sensible(pairs({ alphas, betas: range(9).map((k) => k / 8) }), setting)
}

/** 0 and ± unit · 2^k, up to the ends; the unit is a sixteenth of the shortest length, in whole blocks. */
const fineAlphas = ({ block, lengths, profiled }: FamilySetting): ReadonlyArray<number> => {
  const shortest = Math.min(...lengths)
  const unit = Math.max(block, Math.floor(shortest / STEPS / block) * block)
  const powers = (most: number) =>
    range(32)
      .map((k) => unit * 2 ** k)
      .filter((alpha) => alpha <= most)
  return [...powers(shortest).map((alpha) => -alpha), 0, ...powers(Math.max(...profiled))]
}

/** Up to four decimals: a share of the longest length must not come out a hair, and so a block, short. */
const upwards = (beta: number): number => Math.ceil(beta * 1e4) / 1e4

const fine = (growth: Growth, setting: FamilySetting): ReadonlyArray<Rule> => {
  const alphas = fineAlphas(setting)
  if (growth === "linear") return sensible(pairs({ alphas, betas: sixteenths }), setting)
  const longest = Math.max(...setting.profiled)
  const unit = longest / Math.max(grown(growth, longest), 1)
  const betas = sixteenths.map((share) => upwards(share * unit))
  return sensible(pairs({ alphas, betas }, { growth }), setting, 1)
}

/** The rules of a family; some may be alike at all lengths of the setting. */
export const rulesOf = (family: RuleFamily, setting: FamilySetting): ReadonlyArray<Rule> => {
  switch (family.family) {
    case "elastic":
      return family.grid === "official"
        ? official(setting)
        : family.grid === "fine"
          ? fine("linear", setting)
          : [...pairs(family.grid), dense]
    case "capped": {
      const shares = sixteenths.slice(1)
      const longest = Math.max(...setting.profiled)
      const grid =
        family.grid === "fine"
          ? { alphas: [0], betas: shares, caps: shares.map((share) => share * longest) }
          : family.grid
      return grid.caps.flatMap((cap) => pairs(grid, { cap }))
    }
    case "sqrt":
    case "log2":
      return family.grid === "fine"
        ? fine(family.family, setting)
        : pairs(family.grid, { growth: family.family })
    case "fixed":
      return family.tokens.map((alpha) => ({ alpha, beta: 0 }))
    case "binary":
      return [{ alpha: setting.sink + family.recent, beta: 0 }, dense]
    case "rules":
      return family.rules
  }
}
