/**
 * The optimizer at real sizes, on synthetic influence, as a table: `npx tsx bench/solve.ts [filter]`. Each row is a process
 * of its own, so that its peak memory is its own; CPU seconds are those of all its threads.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { type AttentionShape, elastic, headDensity } from "@tessera/attention"
import { Effect, Schema } from "effect"
import { ElasticParams, layerDensityBudget, optimise } from "../src/index.js"
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

const small = { architecture: "LlamaForCausalLM", layers: 30, queryHeads: 9, kvHeads: 3, headDim: 64 }
const llama8 = { architecture: "LlamaForCausalLM", layers: 32, queryHeads: 32, kvHeads: 8, headDim: 128 }
const llama70 = { architecture: "LlamaForCausalLM", layers: 80, queryHeads: 64, kvHeads: 8, headDim: 128 }
const long = { lengths: [2048, 4096, 8192], block: 64 }
const official = { families: [elastic("official")], extendLengths: [16384], maxRulesPerLayer: 2 }
const perQuery = { ...official, grouping: "query-head" }

const models = [
  {
    name: "SmolLM2, 90 KV heads, fine grid",
    shape: small,
    lengths: [256, 512, 1024],
    block: 16,
    params: { extendLengths: [2048] }
  },
  { name: "8B, 256 KV heads, 2 rules", shape: llama8, ...long, params: official },
  { name: "8B, 1024 query heads, 2 rules", shape: llama8, ...long, params: perQuery },
  { name: "70B, 640 KV heads, 2 rules", shape: llama70, ...long, params: official },
  { name: "70B, 5120 query heads, 2 rules", shape: llama70, ...long, params: perQuery },
  {
    name: "70B, 640 KV heads, 2 rules, each layer too",
    shape: llama70,
    ...long,
    params: { ...official, budgets: [layerDensityBudget({ most: 0.4 })] }
  },
  {
    name: "70B, 5120 query heads, 2 rules, each layer too",
    shape: llama70,
    ...long,
    params: { ...perQuery, budgets: [layerDensityBudget({ most: 0.4 })] }
  },
  {
    name: "70B, 5120 query heads, any rules",
    shape: llama70,
    ...long,
    params: { families: [elastic("official")], extendLengths: [16384], grouping: "query-head" }
  }
]
const ways = [
  // Time enough for a busy machine too: what counts is the processor's time.
  { way: "one objective", params: { objectives: "sum", timeLimit: 600 } },
  { way: "front", params: { objectives: "pareto", timeLimit: 600 } },
  { way: "HiGHS alone, one objective", params: { objectives: "sum", solver: "highs", timeLimit: 120 } }
]
const cases = models.flatMap((model) =>
  ways.map(({ way, params }) => ({
    ...model,
    name: `${model.name}, ${way}`,
    params: { ...model.params, ...params }
  }))
)

const measure = async ({ block, lengths, params, shape }: (typeof cases)[number]): Promise<string> => {
  const rows = influence(shape, lengths, block)
  const decoded = Schema.decodeUnknownSync(ElasticParams)({ density: 0.25, ...params })
  const times: Array<number> = []
  const begin = performance.now()
  const before = process.cpuUsage()
  let last = begin
  let longest = 0
  let beat = begin
  const heart = setInterval(() => {
    longest = Math.max(longest, performance.now() - beat)
    beat = performance.now()
  }, 1)
  const result = await Effect.runPromise(
    Effect.either(
      optimise(rows, shape, decoded, ({ done }) =>
        Effect.sync(() => {
          if (done > 0) times.push(performance.now() - last)
          last = performance.now()
        })
      )
    )
  )
  clearInterval(heart)
  const seconds = (ms: number) => (ms / 1000).toFixed(1)
  const used = process.cpuUsage(before)
  const took = `${seconds((used.user + used.system) / 1000)} | ${seconds(performance.now() - begin)}`
  const memory = Math.round(process.resourceUsage().maxRSS / 1024)
  if (result._tag === "Left") return `${took} | | | ${result.left.message} | | ${memory}`
  const gaps = result.right.map(
    ({ plan }) => Number(/gap (\S+)/.exec(plan.provenance["proof"] ?? "")?.[1]) * 100
  )
  const late = result.right.filter(({ plan }) => plan.provenance["proof"]?.startsWith("stopped")).length
  for (const { plan } of result.right)
    for (const n of [...lengths, ...decoded.extendLengths])
      if (headDensity(plan, n) > 0.25 + 1e-12)
        throw new Error(`${plan.name} has density ${headDensity(plan, n)} at ${n}`)
  return `${took} | ${times.length} | ${seconds(Math.max(...times))} | ${Math.max(...gaps).toFixed(3)}%${late > 0 ? ` (${late} late)` : ""} | ${Math.round(longest)} | ${memory}`
}

const only = process.argv.indexOf("--case")
if (only >= 0) {
  const found = cases.find(({ name }) => name === process.argv[only + 1])
  if (found !== undefined) console.log(`| ${found.name} | ${await measure(found)} |`)
} else {
  const filter = process.argv[2] ?? ""
  console.log("| problem | CPU, s | s | problems | slowest, s | worst gap | longest block, ms | peak MiB |")
  console.log("|---|---:|---:|---:|---:|---:|---:|---:|")
  for (const { name } of cases.filter(({ name }) => name.includes(filter)))
    spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), "--case", name], {
      stdio: "inherit"
    })
}
