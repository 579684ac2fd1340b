/**
 * Random small problems, and every plan there is of them, from the definitions of packages/attention alone; and larger ones.
 */
import {
  type AttentionShape,
  cachedTokens,
  dense,
  type Plan,
  type Rule,
  windowBlocks
} from "@tessera/attention"
import { Schema } from "effect"
import * as fc from "fast-check"
import { ElasticParams } from "../src/index.js"
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
      density: fc.double({ min: 0.5, max: 1, noNaN: true }),
      alphas: fc.constantFrom([-32, 0, 32], [0, 16, 48], [-16, 0, 64]),
      betas: fc.constantFrom([0, 0.5], [0.25, 0.5], [0, 0.75]),
      limit: fc.integer({ min: 1, max: 2 })
    })
    .map(({ curves, density, alphas, betas, limit }) => ({
      shape,
      rows: cells.map(({ length, layer, head }, i) => row(length, layer, head, curves[i] ?? [])),
      params: decode({
        density,
        grid: { alphas, betas },
        minWindow: 1,
        gap: 0,
        points: 4,
        objectives: kind.objectives,
        ...(kind.limit === true ? { maxRulesPerLayer: limit } : {})
      })
    }))
}

export interface Point {
  readonly losses: ReadonlyArray<number>
  readonly tokens: ReadonlyArray<number>
}

export const lengthsOf = (problem: Problem): ReadonlyArray<number> =>
  [...new Set(problem.rows.map((row) => row.length))].sort((a, b) => a - b)

const rulesOf = ({ params }: Problem): ReadonlyArray<Rule> =>
  typeof params.grid === "string"
    ? []
    : [
        ...params.grid.alphas.flatMap((alpha) =>
          (params.grid as { betas: ReadonlyArray<number> }).betas.map((beta) => ({ alpha, beta }))
        ),
        dense
      ]

/** Loss and tokens of a KV-head plan where each KV head has one query head, at each length. */
export const measure = (problem: Problem, rules: ReadonlyArray<ReadonlyArray<Rule>>): Point => {
  const geometry = { block, sink, minWindow: problem.params.minWindow }
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
  Math.max(...plan.rules.map((layer) => new Set(layer.map(({ alpha, beta }) => `${alpha} ${beta}`)).size))

/** All plans within the budget. */
export const feasible = (problem: Problem): ReadonlyArray<Point> => {
  const rules = rulesOf(problem)
  const geometry = { block, sink, minWindow: problem.params.minWindow }
  const lengths = lengthsOf(problem)
  const bound = typeof problem.params.density === "number" ? problem.params.density : 1
  const heads = problem.shape.layers * problem.shape.kvHeads
  const curves = lengths.map((length) =>
    Array.from({ length: heads }, (_, i) => {
      const found = problem.rows.find(
        (row) => row.length === length && row.layer * problem.shape.kvHeads + row.head === i
      )
      return rules.map((rule) => found?.window[windowBlocks(rule, geometry, length)] ?? Number.NaN)
    })
  )
  const cost = lengths.map((length) => rules.map((rule) => cachedTokens(rule, geometry, length)))
  const points: Array<Point> = []
  const choice = Array.from({ length: heads }, () => 0)
  for (let code = 0; code < rules.length ** heads; code++) {
    for (let i = 0, rest = code; i < heads; i++, rest = Math.floor(rest / rules.length))
      choice[i] = rest % rules.length
    const tokens = cost.map((of) => choice.reduce((sum, r) => sum + (of[r] ?? 0), 0))
    if (tokens.some((sum, n) => sum > bound * heads * (lengths[n] ?? 0) + 1e-9)) continue
    const limit = problem.params.maxRulesPerLayer
    if (limit !== undefined) {
      const perLayer = Array.from({ length: problem.shape.layers }, (_, layer) =>
        choice.slice(layer * problem.shape.kvHeads, (layer + 1) * problem.shape.kvHeads)
      )
      if (perLayer.some((layer) => new Set(layer).size > limit)) continue
    }
    points.push({
      tokens,
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
  params: decode({ density: 0.3, minWindow: 1, objectives: "sum", grid: "fine", ...params }),
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
