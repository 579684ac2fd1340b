import * as fc from "fast-check"
import {
  type AttentionShape,
  dense,
  type Geometry,
  type Grouping,
  type Growth,
  type Plan,
  type Rule
} from "../src/index.js"

export const geometry: fc.Arbitrary<Geometry> = fc
  .record({
    block: fc.constantFrom(1, 4, 16, 64),
    sinkBlocks: fc.integer({ min: 0, max: 4 }),
    minWindow: fc.integer({ min: 1, max: 4 })
  })
  .map(({ block, sinkBlocks, minWindow }) => ({ block, sink: sinkBlocks * block, minWindow }))

/** Rules as optimizers make them and as nobody should. */
export const linearRule: fc.Arbitrary<Rule> = fc
  .record({
    alpha: fc.oneof(
      fc.integer({ min: -8, max: 8 }).map((n) => n * 64),
      fc.integer({ min: -3000, max: 3000 }),
      fc.double({ min: -500, max: 500, noNaN: true })
    ),
    beta: fc.oneof(
      fc.integer({ min: 0, max: 8 }).map((n) => n / 8),
      fc.double({ min: 0, max: 1.5, noNaN: true })
    )
  })
  // JSON has no negative zero.
  .map(({ alpha, beta }) => ({ alpha: alpha + 0, beta: beta + 0 }))

/** Rules of every growth, capped or not; betas of the others are as large as makes their spans alike. */
export const rule: fc.Arbitrary<Rule> = fc
  .record(
    {
      linear: linearRule,
      growth: fc.constantFrom<Growth>("linear", "sqrt", "log2"),
      cap: fc.integer({ min: 1, max: 3000 })
    },
    { requiredKeys: ["linear"] }
  )
  .map(({ linear: { alpha, beta }, ...rest }) => ({
    alpha,
    beta: beta * (rest.growth === "sqrt" ? 50 : rest.growth === "log2" ? 200 : 1),
    ...rest
  }))

export const length: fc.Arbitrary<number> = fc.integer({ min: 1, max: 3000 })

export const shape: fc.Arbitrary<AttentionShape> = fc
  .record({
    layers: fc.integer({ min: 1, max: 4 }),
    kvHeads: fc.integer({ min: 1, max: 4 }),
    group: fc.integer({ min: 1, max: 4 }),
    headDim: fc.constantFrom(8, 64)
  })
  .map(({ layers, kvHeads, group, headDim }) => ({
    architecture: "LlamaForCausalLM",
    layers,
    kvHeads,
    queryHeads: kvHeads * group,
    headDim
  }))

export const planOf = (grouping: Grouping, rules: fc.Arbitrary<Rule> = rule): fc.Arbitrary<Plan> =>
  fc.record({ model: shape, geometry }).chain(({ model, geometry }) => {
    const heads = grouping === "kv-head" ? model.kvHeads : model.queryHeads
    const row = fc.array(rules, { minLength: heads, maxLength: heads })
    return fc.array(row, { minLength: model.layers, maxLength: model.layers }).map((chosen) => ({
      format: 1 as const,
      name: "random",
      model,
      geometry,
      grouping,
      rules: chosen,
      length: "prompt" as const,
      provenance: {}
    }))
  })

export const plan: fc.Arbitrary<Plan> = fc.oneof(planOf("kv-head"), planOf("query-head"))

/** Plans of which two rules are all there is: dense, and a sink with a window that is the same at every length. */
export const binaryPlan: fc.Arbitrary<Plan> = fc
  .tuple(
    planOf("kv-head", fc.constant(dense)),
    fc.integer({ min: 1, max: 8 }),
    fc.infiniteStream(fc.boolean())
  )
  .map(([all, recent, full]) => {
    const { block, sink } = all.geometry
    const streaming: Rule = { alpha: sink + recent * block, beta: 0 }
    return {
      ...all,
      geometry: { block, sink, minWindow: 1 },
      rules: all.rules.map((row) => row.map(() => (full.next().value === true ? dense : streaming)))
    }
  })

/** Plans that the official form can say. */
export const linearPlan: fc.Arbitrary<Plan> = fc.oneof(
  planOf("kv-head", linearRule),
  planOf("query-head", linearRule)
)
