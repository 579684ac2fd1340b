/**
 * Seconds per problem at real sizes, on synthetic influence: `npx tsx bench/solve.ts [filter]`.
 */
import { type AttentionShape, density, headDensity } from "@tessera/attention"
import { Effect, Schema } from "effect"
import { ElasticParams, optimise } from "../src/index.js"
import type { InfluenceRow } from "../src/Curves.js"

/** A small generator with a fixed seed, so that runs compare. */
const generator = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

/** Most heads look near and matter little, a few look far and matter a lot. */
const influence = (
  shape: AttentionShape,
  lengths: ReadonlyArray<number>,
  block: number
): ReadonlyArray<InfluenceRow> => {
  const random = generator(7)
  const heads = Array.from({ length: shape.layers * shape.queryHeads }, () => ({
    size: 10 ** (-4 + 3 * random()),
    far: random() ** 4,
    near: 2 + 30 * random()
  }))
  return lengths.flatMap((length) =>
    heads.map(({ size, far, near }, i) => {
      const blocks = length / block
      const noise = 1 + 0.1 * random()
      const window = Array.from({ length: blocks + 1 }, (_, w) =>
        w === blocks
          ? 0
          : size *
            noise *
            (far * (1 - w / blocks) ** (0.5 + far) + (1 - far) * Math.exp((-w * block) / (near * 16)))
      )
      return {
        length,
        layer: Math.floor(i / shape.queryHeads),
        head: i % shape.queryHeads,
        block,
        sink: block,
        items: 1,
        window,
        blocks: []
      }
    })
  )
}

const demo = { architecture: "LlamaForCausalLM", layers: 8, queryHeads: 8, kvHeads: 4, headDim: 64 }
const llama8 = { architecture: "LlamaForCausalLM", layers: 32, queryHeads: 32, kvHeads: 8, headDim: 128 }
const short = [512, 1024, 2048]
const long = [2048, 4096, 8192]
const official = { grid: "official", extendLengths: [16384] }

const cases = [
  { name: "demo, 32 KV heads, fine, Pareto", shape: demo, block: 16, lengths: short, params: {} },
  {
    name: "demo, 64 query heads, fine, Pareto",
    shape: demo,
    block: 16,
    lengths: short,
    params: { grouping: "query-head" }
  },
  {
    name: "demo, 32 KV heads, fine, 2 rules, sum",
    shape: demo,
    block: 16,
    lengths: short,
    params: { maxRulesPerLayer: 2, objectives: "sum" }
  },
  {
    name: "8B, 256 KV heads, official, sum",
    shape: llama8,
    block: 64,
    lengths: long,
    params: { ...official, objectives: "sum" }
  },
  {
    name: "8B, 1024 query heads, official, sum",
    shape: llama8,
    block: 64,
    lengths: long,
    params: { ...official, objectives: "sum", grouping: "query-head" }
  },
  {
    name: "8B, 256 KV heads, official, 2 rules, sum",
    shape: llama8,
    block: 64,
    lengths: long,
    params: { ...official, objectives: "sum", maxRulesPerLayer: 2 }
  },
  { name: "8B, 256 KV heads, official, Pareto", shape: llama8, block: 64, lengths: long, params: official }
]

const filter = process.argv[2] ?? ""
for (const { name, shape, block, lengths, params } of cases.filter(({ name }) => name.includes(filter))) {
  const rows = influence(shape, lengths, block)
  const begin = performance.now()
  const problems: Array<number> = []
  let last = begin
  const candidates = await Effect.runPromise(
    optimise(
      rows,
      shape,
      Schema.decodeUnknownSync(ElasticParams)({ density: 0.25, ...params }),
      ({ label }) =>
        Effect.sync(() => {
          const now = performance.now()
          if (label !== "all lengths" && !label.startsWith("length 0")) problems.push(now - last)
          last = now
        })
    )
  )
  const [{ plan }] = candidates
  const seconds = (ms: number) => (ms / 1000).toFixed(2)
  console.log(
    `${name}: ${seconds(performance.now() - begin)} s, ${problems.length} problems, slowest ${seconds(Math.max(...problems))} s, ` +
      `${candidates.length} plans, ${plan.provenance["rules"]} rules; ${plan.provenance["proof"]}; density ` +
      lengths.map((n) => `${headDensity(plan, n).toFixed(4)}/${density(plan, n).toFixed(4)}`).join(" ")
  )
}
