/**
 * The rules to choose from: grids of alpha and beta, and which of them differ at the lengths that matter.
 */
import { cachedTokens, dense, type Geometry, type Rule, spanBlocks } from "@tessera/attention"
import type { Grid } from "./Params.js"

const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

const pairs = (alphas: ReadonlyArray<number>, betas: ReadonlyArray<number>): ReadonlyArray<Rule> =>
  alphas.flatMap((alpha) => betas.map((beta) => ({ alpha, beta })))

/** Alphas from -shortest to the longest profiled length, evenly, `count` of them. */
const officialAlphas = (shortest: number, longest: number): ReadonlyArray<number> => {
  const steps = Math.floor((longest + shortest) / 1024)
  return range(steps + 1).map((i) => (steps === 0 ? longest : -shortest + (i * (longest + shortest)) / steps))
}

/** 0 and ± unit · 2^k, up to the ends; the unit is a sixteenth of the shortest length, in whole blocks. */
const fineAlphas = (shortest: number, longest: number, block: number): ReadonlyArray<number> => {
  const unit = Math.max(block, Math.floor(shortest / 16 / block) * block)
  const powers = (most: number) =>
    range(32)
      .map((k) => unit * 2 ** k)
      .filter((alpha) => alpha <= most)
  return [...powers(shortest).map((alpha) => -alpha), 0, ...powers(longest)]
}

/**
 * The rules of a grid, each once, the dense rule always among them. The presets leave out rules that ask for more than
 * everything at the longest profiled or the longest of all lengths, or for nothing at the shortest.
 *
 * @param profiled lengths that were profiled, ascending
 * @param all those and the lengths where the budget also holds, ascending
 */
export const rulesOf = (
  grid: Grid,
  block: number,
  profiled: ReadonlyArray<number>,
  all: ReadonlyArray<number>
): ReadonlyArray<Rule> => {
  if (typeof grid !== "string") return [...pairs(grid.alphas, grid.betas), dense]
  const shortest = Math.min(...all)
  const longest = Math.max(...profiled)
  const longestOfAll = Math.max(...all)
  const rules =
    grid === "official"
      ? pairs(
          officialAlphas(shortest, longest),
          range(9).map((k) => k / 8)
        )
      : pairs(
          fineAlphas(shortest, longest, block),
          range(17).map((k) => k / 16)
        )
  return rules.filter(
    ({ alpha, beta }) =>
      alpha + beta * longest <= longest &&
      alpha + beta * longestOfAll <= longestOfAll &&
      alpha + beta * shortest > 0
  )
}

/** Rules that keep the same at all lengths that matter, of which one will stand for all. */
export interface RuleClass {
  readonly rules: ReadonlyArray<Rule>
  /** Tokens cached at each length. */
  readonly tokens: ReadonlyArray<number>
}

/** Groups rules of equal spans at all `lengths`; classes come by ascending spans, longest length first. */
export const classesOf = (
  rules: ReadonlyArray<Rule>,
  geometry: Geometry,
  lengths: ReadonlyArray<number>
): ReadonlyArray<RuleClass> => {
  const classes = new Map<string, { readonly spans: ReadonlyArray<number>; readonly rules: Array<Rule> }>()
  for (const rule of rules) {
    const spans = lengths.map((length) => spanBlocks(rule, geometry, length)).reverse()
    const known = classes.get(spans.join(" "))
    if (known === undefined) classes.set(spans.join(" "), { spans, rules: [rule] })
    else if (!known.rules.some(({ alpha, beta }) => alpha === rule.alpha && beta === rule.beta))
      known.rules.push(rule)
  }
  return [...classes.values()]
    .sort((a, b) => compareNumbers(a.spans, b.spans))
    .map(({ rules }) => ({
      rules,
      tokens: lengths.map((length) => cachedTokens(rules[0] ?? dense, geometry, length))
    }))
}

/** Orders lists of equal length by their first difference. */
export const compareNumbers = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
