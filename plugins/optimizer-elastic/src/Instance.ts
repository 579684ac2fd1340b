/**
 * One optimisation, made discrete: heads, options per head, the options' costs and losses, and the budgets.
 */
import { type Geometry, type Rule, spanBlocks, windowBlocks } from "@tessera/attention"
import { Effect } from "effect"
import { type Curves, lossAt } from "./Curves.js"
import { OptimizerError } from "./Errors.js"
import type { Density, ElasticParams } from "./Params.js"
import { classesOf, compareNumbers, type RuleClass, rulesOf } from "./Rules.js"

/** Tokens that all heads together may keep at a length. */
export interface Budget {
  readonly length: number
  readonly least: number
  readonly most: number
  /** The shares asked for, for messages. */
  readonly asked: { readonly least: number; readonly most: number }
}

export interface Option {
  readonly rule: Rule
  /** Tokens one head keeps, by budget. */
  readonly tokens: ReadonlyArray<number>
}

export interface Instance {
  readonly geometry: Geometry
  readonly layers: number
  readonly headsPerLayer: number
  readonly heads: number
  readonly options: ReadonlyArray<Option>
  readonly budgets: ReadonlyArray<Budget>
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
}

const densityAt = (density: Density, length: number): number | undefined =>
  typeof density === "number" ? density : density[String(length)]

const invalid = (detail: string) => new OptimizerError({ reason: "InvalidParams", detail })

// A share times a length may come out a hair below the whole number it stands for.
const tokens = (share: number, length: number, heads: number, round: (x: number) => number, slack: number) =>
  round(share * length * heads + slack)

const budgetsOf = (
  params: ElasticParams,
  profiled: ReadonlyArray<number>,
  heads: number
): Effect.Effect<ReadonlyArray<Budget>, OptimizerError> =>
  Effect.gen(function* () {
    const lengths = [...new Set([...profiled, ...params.extendLengths])].sort((a, b) => a - b)
    const known = `the lengths are ${lengths.join(", ")} (profiled: ${profiled.join(", ")})`
    for (const [name, density] of [
      ["density", params.density],
      ["lowerDensity", params.lowerDensity]
    ] as const) {
      if (density === undefined || typeof density === "number") continue
      const stranger = Object.keys(density).find((length) => !lengths.includes(Number(length)))
      if (stranger !== undefined)
        return yield* invalid(`${name} names length ${stranger}; ${known}; add it to extendLengths`)
    }
    const budgets: Array<Budget> = []
    for (const length of lengths) {
      const upper = densityAt(params.density, length)
      if (upper === undefined) return yield* invalid(`density names no bound for length ${length}; ${known}`)
      const lower =
        (params.lowerDensity === undefined ? undefined : densityAt(params.lowerDensity, length)) ?? 0
      if (lower > upper)
        return yield* invalid(`at length ${length} lowerDensity ${lower} is above density ${upper}`)
      budgets.push({
        length,
        least: tokens(lower, length, heads, Math.ceil, -1e-6),
        most: tokens(upper, length, heads, Math.floor, 1e-6),
        asked: { least: lower, most: upper }
      })
    }
    return budgets
  })

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
  rules: RuleClass["rules"],
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
        -rule.beta,
        rule.alpha
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
  options: ReadonlyArray<Option>,
  budgets: ReadonlyArray<Budget>,
  measures: (head: number) => ReadonlyArray<(option: number) => number>,
  groups: ReadonlyArray<ReadonlyArray<number>>
): ReadonlyArray<ReadonlyArray<number>> => {
  const cost = budgets.map((_, b) => (option: number) => options[option]?.tokens[b] ?? 0)
  const free = cost.filter((_, b) => (budgets[b]?.least ?? 0) === 0)
  const bound = cost.filter((_, b) => (budgets[b]?.least ?? 0) > 0)
  const all = options.map((_, r) => r)
  const kept: Array<ReadonlyArray<number>> = []
  for (const group of groups) {
    const less = [...free, ...group.flatMap(measures)]
    const left = all.filter((b) => !all.some((a) => a !== b && dominates(a, b, less, bound)))
    for (const head of group) kept[head] = left
  }
  return kept
}

/** Builds the instance, or says which parameter contradicts the influence. */
export const instanceOf = (curves: Curves, params: ElasticParams): Effect.Effect<Instance, OptimizerError> =>
  Effect.gen(function* () {
    const geometry: Geometry = { block: curves.block, sink: curves.sink, minWindow: params.minWindow }
    const heads = curves.layers * curves.headsPerLayer
    const budgets = yield* budgetsOf(params, curves.lengths, heads)
    const all = budgets.map(({ length }) => length)
    const longest = Math.max(...curves.lengths)
    const last = curves.loss[curves.lengths.length - 1] ?? []
    const options = classesOf(rulesOf(params.grid, curves.block, curves.lengths, all), geometry, all).flatMap(
      ({ rules, tokens }): ReadonlyArray<Option> => {
        const rule = representative(rules, geometry, last, longest, Math.max(...all))
        return rule === undefined ? [] : [{ rule, tokens }]
      }
    )
    const table = (loss: (head: number, option: Option) => number): Float64Array =>
      Float64Array.from({ length: heads * options.length }, (_, i) => {
        const option = options[i % options.length]
        return option === undefined ? 0 : loss(Math.floor(i / options.length), option)
      })
    const loss = curves.lengths.map((length, n) =>
      table((head, { rule }) => lossAt(curves.loss[n]?.[head] ?? [], windowBlocks(rule, geometry, length)))
    )
    const beyond = table((head, { rule }) =>
      extrapolate(last[head] ?? [], rule, geometry, longest, 2 * longest)
    )
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
      kept: prune(options, budgets, measures, groups)
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

/** Tokens kept at each budget's length. */
export const tokensOf = (instance: Instance, choice: Choice): ReadonlyArray<number> =>
  instance.budgets.map((_, b) =>
    choice.reduce((kept, option) => kept + (instance.options[option]?.tokens[b] ?? 0), 0)
  )

/** Whether a choice meets every budget and the limit of rules per layer, in whole tokens. */
export const meets = (instance: Instance, choice: Choice): boolean => {
  const kept = tokensOf(instance, choice)
  const rules = Array.from(
    { length: instance.layers },
    (_, layer) =>
      new Set(choice.slice(layer * instance.headsPerLayer, (layer + 1) * instance.headsPerLayer)).size
  )
  return (
    instance.budgets.every(({ least, most }, b) => (kept[b] ?? 0) >= least && (kept[b] ?? 0) <= most) &&
    rules.every((count) => count <= (instance.maxRulesPerLayer ?? count))
  )
}
