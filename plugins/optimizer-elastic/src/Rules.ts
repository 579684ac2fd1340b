/**
 * Which rules differ at the lengths that matter.
 */
import { type Geometry, type Rule, sameRule, spanBlocks } from "@tessera/attention"

/** Rules that keep the same at all lengths that matter, of which one will stand for all. */
export type RuleClass = ReadonlyArray<Rule>

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
    else if (!known.rules.some((one) => sameRule(one, rule))) known.rules.push(rule)
  }
  return [...classes.values()].sort((a, b) => compareNumbers(a.spans, b.spans)).map(({ rules }) => rules)
}

/** Orders lists of equal length by their first difference. */
export const compareNumbers = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
