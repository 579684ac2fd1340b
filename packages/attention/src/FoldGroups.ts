/**
 * From rules per query head to rules per KV head.
 */
import type { Plan } from "./Plan.js"
import { dense, type Rule, sameRule, windowBlocks } from "./Rule.js"

/**
 * Gives the query heads of each KV head one rule that keeps at least what each of them kept, at the given lengths. Rules
 * may cross, so that the longest of a group is another rule at another length, and their maximum no rule at all; then it
 * is the rule of the plan that covers all of them at the least mean window relative to N, or where no rule of the plan
 * covers them, the dense one. Between and beyond the given lengths a crossing rule may keep less than a member did. The
 * provenance says what was done. A plan per KV head stays as it is.
 */
export const foldToKvHeads = (plan: Plan, lengths: readonly [number, ...ReadonlyArray<number>]): Plan => {
  if (plan.grouping === "kv-head") return plan
  const { kvHeads, layers, queryHeads } = plan.model
  const group = queryHeads / kvHeads
  const windows = (rule: Rule) => lengths.map((length) => windowBlocks(rule, plan.geometry, length))
  const share = (spans: ReadonlyArray<number>) =>
    spans.reduce((total, span, i) => total + span / (lengths[i] ?? 1), 0)
  const options = [...plan.rules.flat(), dense]
    .filter((rule, i, all) => all.findIndex((other) => sameRule(other, rule)) === i)
    .map((rule) => ({ rule, windows: windows(rule) }))
    .map((option) => ({ ...option, share: share(option.windows) }))
    .sort((a, b) => a.share - b.share)
  let joined = 0
  let uncovered = 0
  const ruleOf = (members: ReadonlyArray<Rule>): Rule => {
    const [first = dense, ...others] = members
    if (others.every((rule) => sameRule(rule, first))) return first
    joined++
    const needed = members.map(windows)
    const chosen = options.find((option) =>
      needed.every((each) => each.every((window, i) => window <= (option.windows[i] ?? 0)))
    )
    const own =
      chosen !== undefined && plan.rules.some((layer) => layer.some((rule) => sameRule(rule, chosen.rule)))
    if (!own) uncovered++
    return chosen?.rule ?? dense
  }
  const rules = plan.rules.map((heads) =>
    Array.from({ length: kvHeads }, (_, kv) => ruleOf(heads.slice(kv * group, (kv + 1) * group)))
  )
  // What was expected of the plan is not what is to be expected of the folded one.
  const { expected: _, ...rest } = plan
  return {
    ...rest,
    grouping: "kv-head",
    rules,
    provenance: {
      ...plan.provenance,
      folded: `query heads to KV heads by max at N = ${lengths.join(", ")}: the smallest rule of the plan that covers all query heads of a group there`,
      "folded groups": `${joined} of ${layers * kvHeads} had different rules, ${uncovered} of them became dense because no rule of the plan covers them`
    }
  }
}
