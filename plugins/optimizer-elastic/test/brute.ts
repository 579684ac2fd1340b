/**
 * Random small problems, and every plan there is of them, from the definitions of packages/attention alone; and larger ones.
 */
import {
  type AttentionShape,
  cachedTokens,
  elastic,
  type Plan,
  type Rule,
  type RuleFamily,
  rulesOf,
  spanBlocks,
  windowBlocks
} from "@tessera/attention"
import { Schema } from "effect"
import * as fc from "fast-check"
import { expect } from "vitest"
import { type Budget, ElasticParams, type LatencyRow } from "../src/index.js"
import type { InfluenceRow } from "../src/Curves.js"

export interface Problem {
  readonly shape: AttentionShape
  readonly rows: ReadonlyArray<InfluenceRow>
  readonly params: ElasticParams
}

export const decode = Schema.decodeUnknownSync(ElasticParams)

export const shapeOf = (layers: number, queryHeads: number, kvHeads: number): AttentionShape => ({
  architecture: "LlamaForCausalLM",
  layers,
  queryHeads,
  kvHeads,
  headDim: 8
})

export const block = 16
export const sink = 16

export const row = (
  length: number,
  layer: number,
  head: number,
  window: ReadonlyArray<number>
): InfluenceRow => ({ length, layer, head, block, sink, items: 1, window, blocks: [] })

interface Kind {
  readonly lengths: ReadonlyArray<number>
  /** Multiplies every loss. */
  readonly scale?: number
  readonly limit?: boolean
  readonly signed?: boolean
  readonly objectives: "pareto" | "sum"
  readonly layers?: number
  /** Instead of a random small elastic grid. */
  readonly families?: readonly [RuleFamily, ...ReadonlyArray<RuleFamily>]
  /** Instead of a random density. */
  readonly asks?: fc.Arbitrary<object>
}

const value = (kind: Kind): fc.Arbitrary<number> =>
  fc
    .oneof(
      fc.double({ min: kind.signed === true ? -1 : 0, max: 1, noNaN: true }),
      // Ties, nothing to lose, and sizes far apart.
      fc.constantFrom(0, 0, 0.5, 1),
      fc.double({ min: 0, max: 1e-4, noNaN: true })
    )
    .map((loss) => loss * (kind.scale ?? 1) + 0)

/** Mostly curves that fall with the window, as real ones do; some that do not. */
const curve = (kind: Kind, blocks: number): fc.Arbitrary<ReadonlyArray<number>> =>
  fc
    .tuple(fc.array(value(kind), { minLength: blocks, maxLength: blocks }), fc.integer({ min: 0, max: 3 }))
    .map(([losses, order]) => [...(order === 0 ? losses : losses.toSorted((a, b) => b - a)), 0])

export const problem = (kind: Kind): fc.Arbitrary<Problem> => {
  const layers = kind.layers ?? 2
  const shape = shapeOf(layers, 2, 2)
  const cells = kind.lengths.flatMap((length) =>
    Array.from({ length: layers * 2 }, (_, i) => ({ length, layer: Math.floor(i / 2), head: i % 2 }))
  )
  return fc
    .record({
      curves: fc.tuple(...cells.map(({ length }) => curve(kind, Math.ceil(length / block)))),
      asks: kind.asks ?? fc.record({ density: fc.double({ min: 0.5, max: 1, noNaN: true }) }),
      alphas: fc.constantFrom([-32, 0, 32], [0, 16, 48], [-16, 0, 64]),
      betas: fc.constantFrom([0, 0.5], [0.25, 0.5], [0, 0.75]),
      limit: fc.integer({ min: 1, max: 2 })
    })
    .map(({ curves, asks, alphas, betas, limit }) => ({
      shape,
      rows: cells.map(({ length, layer, head }, i) => row(length, layer, head, curves[i] ?? [])),
      params: decode({
        families: kind.families ?? [elastic({ alphas, betas })],
        minWindow: 1,
        gap: 0,
        points: 4,
        objectives: kind.objectives,
        ...(kind.limit === true ? { maxRulesPerLayer: limit } : {}),
        ...asks
      })
    }))
}

export interface Point {
  readonly losses: ReadonlyArray<number>
  readonly tokens: ReadonlyArray<number>
}

export const lengthsOf = (problem: Problem): ReadonlyArray<number> =>
  [...new Set(problem.rows.map((row) => row.length))].sort((a, b) => a - b)

/** Every length that the parameters or the influence name. */
const allLengths = (problem: Problem): ReadonlyArray<number> => {
  const { budgets, extendLengths } = problem.params
  const named = budgets.flatMap((one) => (one.budget === "density" ? (one.lengths ?? []) : [one.length]))
  return [...new Set([...lengthsOf(problem), ...extendLengths, ...named])]
}

const geometryOf = ({ params }: Problem) => ({ block, sink, minWindow: params.minWindow })

/** One rule for each list of spans that there is. */
const rulesToTry = (problem: Problem): ReadonlyArray<Rule> => {
  const lengths = allLengths(problem)
  const setting = { block, sink, profiled: lengthsOf(problem), lengths }
  const spans = (rule: Rule) =>
    lengths.map((length) => spanBlocks(rule, geometryOf(problem), length)).join(" ")
  const rules = problem.params.families.flatMap((family) => rulesOf(family, setting))
  return [...new Map(rules.map((rule) => [spans(rule), rule])).values()]
}

/** What a head of this length and so many tokens takes: on the straight line through the two rows around it. */
const interpolate = (table: ReadonlyArray<LatencyRow>, length: number, tokens: number): number => {
  const rows = table.filter((row) => row.length === length)
  const low = rows.filter((row) => row.tokens <= tokens).reduce((a, b) => (b.tokens > a.tokens ? b : a))
  const high = rows.filter((row) => row.tokens >= tokens).reduce((a, b) => (b.tokens < a.tokens ? b : a))
  return low.tokens === high.tokens
    ? low.milliseconds
    : (low.milliseconds * (high.tokens - tokens) + high.milliseconds * (tokens - low.tokens)) /
        (high.tokens - low.tokens)
}

const ROUNDING = 1e-9

/** Whether heads that keep so many tokens, by layer, are within a budget. `slack` is a share of it. */
export const obeys = (
  problem: Problem,
  budget: Budget,
  tokens: (length: number) => ReadonlyArray<ReadonlyArray<number>>,
  slack = ROUNDING
): boolean => {
  const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)
  const { headDim, kvHeads, layers } = problem.shape
  switch (budget.budget) {
    case "density":
      return (budget.lengths ?? [...lengthsOf(problem), ...problem.params.extendLengths]).every((length) => {
        const scopes = budget.per === "layer" ? tokens(length) : [tokens(length).flat()]
        return scopes.every((scope) => {
          const share = sum(scope) / (length * scope.length)
          return share <= (budget.most ?? 1) * (1 + slack) && share >= (budget.least ?? 0) * (1 - slack)
        })
      })
    case "memory": {
      const elements = sum(tokens(budget.length).flat()) * 2 * headDim * (budget.batch ?? 1)
      return elements * budget.bytesPerElement <= budget.gib * 1024 ** 3 * (1 + slack)
    }
    case "latency": {
      const times = tokens(budget.length)
        .flat()
        .map((kept) => interpolate(budget.table, budget.length, kept))
      const total = (sum(times) * (budget.batch ?? 1)) / (budget.of === "layer" ? kvHeads : 1)
      expect(times).toHaveLength(layers * kvHeads)
      return total <= budget.milliseconds * (1 + slack)
    }
  }
}

/** All that the parameters ask of a plan's tokens. */
export const obeysAll = (
  problem: Problem,
  tokens: (length: number) => ReadonlyArray<ReadonlyArray<number>>
): boolean => {
  const { budgets, density } = problem.params
  const short: ReadonlyArray<Budget> =
    typeof density === "number" ? [{ budget: "density", per: "model", most: density }] : []
  return [...short, ...budgets].every((budget) => obeys(problem, budget, tokens))
}

/** Tokens that the heads of a plan keep, by layer. */
export const tokensOf =
  (problem: Problem, rules: ReadonlyArray<ReadonlyArray<Rule>>) =>
  (length: number): ReadonlyArray<ReadonlyArray<number>> =>
    rules.map((layer) => layer.map((rule) => cachedTokens(rule, geometryOf(problem), length)))

/** Loss and tokens of a KV-head plan where each KV head has one query head, at each length. */
export const measure = (problem: Problem, rules: ReadonlyArray<ReadonlyArray<Rule>>): Point => {
  const geometry = geometryOf(problem)
  const lengths = lengthsOf(problem)
  return {
    losses: lengths.map((length) =>
      problem.rows
        .filter((row) => row.length === length)
        .reduce((sum, { layer, head, window }) => {
          const rule = rules[layer]?.[head]
          return (
            sum +
            (rule === undefined ? Number.NaN : (window[windowBlocks(rule, geometry, length)] ?? Number.NaN))
          )
        }, 0)
    ),
    tokens: lengths.map((length) =>
      rules.flat().reduce((sum, rule) => sum + cachedTokens(rule, geometry, length), 0)
    )
  }
}

export const distinctPerLayer = (plan: Pick<Plan, "rules">): number =>
  Math.max(...plan.rules.map((layer) => new Set(layer.map((rule) => JSON.stringify(rule))).size))

/** All plans within the budgets. */
export const feasible = (problem: Problem): ReadonlyArray<Point> => {
  const rules = rulesToTry(problem)
  const geometry = geometryOf(problem)
  const lengths = lengthsOf(problem)
  const { kvHeads, layers } = problem.shape
  const { maxRulesPerLayer, share } = problem.params
  const heads = layers * kvHeads
  const curves = lengths.map((length) =>
    Array.from({ length: heads }, (_, i) => {
      const found = problem.rows.find(
        (row) => row.length === length && row.layer * problem.shape.kvHeads + row.head === i
      )
      return rules.map((rule) => found?.window[windowBlocks(rule, geometry, length)] ?? Number.NaN)
    })
  )
  const cost = new Map(
    allLengths(problem).map((length) => [length, rules.map((rule) => cachedTokens(rule, geometry, length))])
  )
  const points: Array<Point> = []
  const choice = Array.from({ length: heads }, () => 0)
  const byLayer = <A>(values: ReadonlyArray<A>) =>
    Array.from({ length: layers }, (_, layer) => values.slice(layer * kvHeads, (layer + 1) * kvHeads))
  const alike = (values: ReadonlyArray<number>) => values.every((value) => value === values[0])
  for (let code = 0; code < rules.length ** heads; code++) {
    for (let i = 0, rest = code; i < heads; i++, rest = Math.floor(rest / rules.length))
      choice[i] = rest % rules.length
    if (share === "model" && !alike(choice)) continue
    if (share === "layer" && !byLayer(choice).every(alike)) continue
    if (maxRulesPerLayer !== undefined)
      if (byLayer(choice).some((layer) => new Set(layer).size > maxRulesPerLayer)) continue
    const tokens = (length: number) => choice.map((r) => cost.get(length)?.[r] ?? Number.NaN)
    if (!obeysAll(problem, (length) => byLayer(tokens(length)))) continue
    points.push({
      tokens: lengths.map((length) => tokens(length).reduce((sum, kept) => sum + kept, 0)),
      losses: curves.map((of) => choice.reduce((sum, r, i) => sum + (of[i]?.[r] ?? 0), 0))
    })
  }
  return points
}

/** 24 layers of 16 heads at three lengths: takes minutes at a gap of 0. */
export const large = (params: object): Problem => ({
  shape: shapeOf(24, 16, 16),
  params: decode({ density: 0.3, minWindow: 1, objectives: "sum", maxRulesPerLayer: 2, gap: 0, ...params }),
  rows: [256, 512, 1024].flatMap((length) =>
    Array.from({ length: 24 * 16 }, (_, i) => {
      const blocks = length / 16
      const far = ((i * 37) % 101) / 101
      const size = 1 + ((i * 53) % 97) / 10
      return row(
        length,
        Math.floor(i / 16),
        i % 16,
        Array.from({ length: blocks + 1 }, (_, w) =>
          w === blocks ? 0 : size * (far * (1 - w / blocks) + (1 - far) / (1 + w / (1 + (i % 7))))
        )
      )
    })
  )
})

/** Layers of four KV heads at two lengths; no two heads alike. */
export const middling = (layers: number, params: object): Problem => ({
  shape: shapeOf(layers, 4, 4),
  params: decode({ density: 0.3, minWindow: 1, objectives: "sum", families: [elastic("fine")], ...params }),
  rows: [256, 512].flatMap((length) =>
    Array.from({ length: layers * 4 }, (_, i) => {
      const blocks = length / 16
      const far = ((i * 37) % 101) / 101
      const size = 1 + ((i * 53) % 97) / 10
      return row(
        length,
        Math.floor(i / 4),
        i % 4,
        Array.from({ length: blocks + 1 }, (_, w) =>
          w === blocks ? 0 : size * (far * (1 - w / blocks) + (1 - far) * Math.exp(-w / (1 + (i % 7))))
        )
      )
    })
  )
})
