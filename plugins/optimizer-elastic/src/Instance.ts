/**
 * One optimisation, made discrete: heads, options per head, the options' costs and losses, and the budgets.
 */
import {
  type AttentionShape,
  cachedTokens,
  type Geometry,
  type Rule,
  rulesOf,
  spanBlocks,
  windowBlocks
} from "@tessera/attention"
import { Effect } from "effect"
import { type Bound, boundsOf, concerns, lengthsOf } from "./Bounds.js"
import { type Curves, lossAt, sharedCurves } from "./Curves.js"
import { OptimizerError } from "./Errors.js"
import type { ElasticParams } from "./Params.js"
import { classesOf, compareNumbers, type RuleClass } from "./Rules.js"

export interface Instance {
  readonly geometry: Geometry
  readonly layers: number
  readonly headsPerLayer: number
  readonly heads: number
  /** The rule of each option. */
  readonly options: ReadonlyArray<Rule>
  readonly budgets: ReadonlyArray<Bound>
  /** Profiled lengths, ascending: one objective each. */
  readonly lengths: ReadonlyArray<number>
  /** By objective: loss of option r for head h at h · options + r. */
  readonly loss: ReadonlyArray<Float64Array>
  /** By objective: how far the losses of all heads reach from the best to the worst window. */
  readonly range: ReadonlyArray<number>
  /** The same indices: loss expected at twice the longest profiled length, for ties only. */
  readonly beyond: Float64Array
  readonly maxRulesPerLayer: number | undefined
  /** By head: options that some plan may need; no other option of the head is as cheap and as good. */
  readonly kept: ReadonlyArray<ReadonlyArray<number>>
  /** A head stands for so many heads of one layer, in so many layers: those that share a rule. */
  readonly standsFor: { readonly heads: number; readonly layers: number }
}

/**
 * The loss a head expects at `length`, from its curve at the longest profiled length: relative distances are taken to
 * matter alike, so a window of w' of N' blocks loses what w' · N / N' loses at N.
 */
const extrapolate = (
  curve: ReadonlyArray<number>,
  rule: Rule,
  geometry: Geometry,
  longest: number,
  length: number
): number => lossAt(curve, (windowBlocks(rule, geometry, length) * longest) / length)

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)

/** Of rules alike at all lengths that matter, the one with the least loss beyond them. */
const representative = (
  rules: RuleClass,
  geometry: Geometry,
  curves: ReadonlyArray<ReadonlyArray<number>>,
  longest: number,
  longestBudget: number
): Rule | undefined =>
  rules
    .map((rule) => ({
      rule,
      order: [
        rules.length === 1
          ? 0
          : sum(curves.map((curve) => extrapolate(curve, rule, geometry, longest, 2 * longest))),
        -spanBlocks(rule, geometry, 2 * longestBudget),
        // Those that the official form can say come first.
        rule.growth === undefined || rule.growth === "linear" ? 0 : rule.growth === "sqrt" ? 1 : 2,
        rule.cap === undefined ? 0 : 1,
        -rule.beta,
        rule.alpha,
        rule.cap ?? 0
      ]
    }))
    .sort((a, b) => compareNumbers(a.order, b.order))[0]?.rule

/** Whether option a makes option b needless, by values of which less is better and values that must be equal. */
const dominates = (
  a: number,
  b: number,
  less: ReadonlyArray<(option: number) => number>,
  equal: ReadonlyArray<(option: number) => number>
): boolean => {
  let strictly = false
  for (const of of equal) if (of(a) !== of(b)) return false
  for (const of of less) {
    const difference = of(a) - of(b)
    if (difference > 0) return false
    if (difference < 0) strictly = true
  }
  return strictly || a < b
}

const prune = (
  options: number,
  budgets: ReadonlyArray<Bound>,
  measures: (head: number) => ReadonlyArray<(option: number) => number>,
  groups: ReadonlyArray<ReadonlyArray<number>>
): ReadonlyArray<ReadonlyArray<number>> => {
  const costs = [...new Set(budgets.map((bound) => bound.costs))]
  const bounded = new Set(budgets.filter(({ least }) => least > 0).map((bound) => bound.costs))
  const spent = (of: ReadonlyArray<number>) => (option: number) => of[option] ?? 0
  const free = costs.filter((of) => !bounded.has(of)).map(spent)
  const bound = costs.filter((of) => bounded.has(of)).map(spent)
  const all = Array.from({ length: options }, (_, r) => r)
  const kept: Array<ReadonlyArray<number>> = []
  for (const group of groups) {
    const less = [...free, ...group.flatMap(measures)]
    const left = all.filter((b) => !all.some((a) => a !== b && dominates(a, b, less, bound)))
    for (const head of group) kept[head] = left
  }
  return kept
}

/** Builds the instance, or says which parameter contradicts the influence. */
export const instanceOf = (
  whole: Curves,
  params: ElasticParams,
  shape: AttentionShape
): Effect.Effect<Instance, OptimizerError> =>
  Effect.gen(function* () {
    const geometry: Geometry = { block: whole.block, sink: whole.sink, minWindow: params.minWindow }
    const curves = sharedCurves(whole, params.share)
    const heads = curves.layers * curves.headsPerLayer
    const lengths = lengthsOf(params, curves.lengths)
    const longest = Math.max(...curves.lengths)
    const last = curves.loss[curves.lengths.length - 1] ?? []
    const { block, sink } = geometry
    const setting = { block, sink, profiled: curves.lengths, lengths }
    const options = classesOf(
      params.families.flatMap((family) => rulesOf(family, setting)),
      geometry,
      lengths
    ).flatMap((rules) => representative(rules, geometry, last, longest, Math.max(...lengths)) ?? [])
    const standsFor = {
      heads: whole.headsPerLayer / curves.headsPerLayer,
      layers: whole.layers / curves.layers
    }
    const budgets = yield* boundsOf({
      params,
      shape,
      lengths,
      profiled: curves.lengths,
      layers: curves.layers,
      headsPerLayer: whole.headsPerLayer,
      heads: whole.layers * whole.headsPerLayer,
      standsFor: { layer: standsFor.heads, model: standsFor.heads * standsFor.layers },
      tokensAt: (length) => options.map((rule) => cachedTokens(rule, geometry, length))
    })
    const table = (loss: (head: number, rule: Rule) => number): Float64Array =>
      Float64Array.from({ length: heads * options.length }, (_, i) => {
        const rule = options[i % options.length]
        return rule === undefined ? 0 : loss(Math.floor(i / options.length), rule)
      })
    const loss = curves.lengths.map((length, n) =>
      table((head, rule) => lossAt(curves.loss[n]?.[head] ?? [], windowBlocks(rule, geometry, length)))
    )
    const beyond = table((head, rule) => extrapolate(last[head] ?? [], rule, geometry, longest, 2 * longest))
    const measures = (head: number) =>
      [...loss, beyond].map((values) => (option: number) => values[head * options.length + option] ?? 0)
    const every = Array.from({ length: heads }, (_, head) => head)
    // Where rules per layer are counted, an option may go only if all heads of the layer can do without it.
    const groups =
      params.maxRulesPerLayer === undefined
        ? every.map((head) => [head])
        : Array.from({ length: curves.layers }, (_, layer) =>
            every.slice(layer * curves.headsPerLayer, (layer + 1) * curves.headsPerLayer)
          )
    return {
      geometry,
      layers: curves.layers,
      headsPerLayer: curves.headsPerLayer,
      heads,
      options,
      budgets,
      lengths: curves.lengths,
      loss,
      range: curves.loss.map((byHead) => {
        const reach = sum(byHead.map((curve) => Math.max(...curve) - Math.min(...curve)))
        return reach > 0 ? reach : 1
      }),
      beyond,
      maxRulesPerLayer: params.maxRulesPerLayer,
      kept: prune(options.length, budgets, measures, groups),
      standsFor
    }
  })

/** Which option each head takes. */
export type Choice = Int32Array

/** Sum over heads of a table's values under a choice, always in the same order. */
export const total = (instance: Instance, values: Float64Array, choice: Choice): number => {
  let result = 0
  for (let head = 0; head < instance.heads; head++)
    result += values[head * instance.options.length + (choice[head] ?? 0)] ?? 0
  return result
}

/** Loss at each profiled length. */
export const losses = (instance: Instance, choice: Choice): ReadonlyArray<number> =>
  instance.loss.map((values) => total(instance, values, choice))

/** The rules of a model's layers. */
export const rulesIn = (
  { headsPerLayer, layers, options, standsFor }: Instance,
  choice: Choice
): ReadonlyArray<ReadonlyArray<Rule>> =>
  Array.from({ length: layers * standsFor.layers }, (_, layer) =>
    Array.from({ length: headsPerLayer * standsFor.heads }, (_, head) => {
      const one = Math.floor(layer / standsFor.layers) * headsPerLayer + Math.floor(head / standsFor.heads)
      const rule = options[choice[one] ?? 0]
      if (rule === undefined) throw new RangeError(`no option ${choice[one]} for head ${one}`)
      return rule
    })
  )

/** Units spent of each budget. */
export const spentOf = ({ budgets, headsPerLayer }: Instance, choice: Choice): ReadonlyArray<number> =>
  budgets.map(({ costs, layer }) =>
    (layer === undefined
      ? choice
      : choice.subarray(layer * headsPerLayer, (layer + 1) * headsPerLayer)
    ).reduce((spent, option) => spent + (costs[option] ?? 0), 0)
  )

/** By layer: the indices of the budgets that its heads spend. */
export const budgetsByLayer = ({ budgets, layers }: Instance): ReadonlyArray<ReadonlyArray<number>> =>
  Array.from({ length: layers }, (_, layer) =>
    budgets.flatMap((bound, b) => (concerns(bound, layer) ? [b] : []))
  )

/** Whether a choice meets every budget and the limit of rules per layer, in whole units. */
export const meets = (instance: Instance, choice: Choice): boolean => {
  const spent = spentOf(instance, choice)
  const rules = Array.from(
    { length: instance.layers },
    (_, layer) =>
      new Set(choice.slice(layer * instance.headsPerLayer, (layer + 1) * instance.headsPerLayer)).size
  )
  return (
    instance.budgets.every(({ least, most }, b) => (spent[b] ?? 0) >= least && (spent[b] ?? 0) <= most) &&
    rules.every((count) => count <= (instance.maxRulesPerLayer ?? count))
  )
}
