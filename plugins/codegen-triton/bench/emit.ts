/**
 * Writes the kernel package of a plan file, to be benched on a machine with a GPU:
 *
 *   npx tsx plugins/codegen-triton/bench/emit.ts PLAN.json OUT [--kv]
 *
 * PLAN.json is a Tessera plan, or a plan of the official MoA release for Llama-3-8B ({"alphas", "betas"}). `--kv` folds
 * rules per query head to the longest of each KV group.
 */
import { FileSystem, Path } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { cachedTokens, fromOfficial, Plan, type Rule } from "@tessera/attention"
import { Effect, Schema } from "effect"
import { emitFiles, EmitTritonParams } from "../src/index.js"

const official = {
  name: "moa-llama3-8b",
  model: { architecture: "LlamaForCausalLM", layers: 32, queryHeads: 32, kvHeads: 8, headDim: 128 },
  geometry: { block: 64, sink: 64, minWindow: 1 },
  length: "prompt"
} as const

/** The rule of each KV group's longest span at 16k tokens. */
const perKvHead = (plan: Plan): Plan => {
  const group = plan.model.queryHeads / plan.model.kvHeads
  const span = (rule: Rule) => cachedTokens(rule, plan.geometry, 16384)
  return {
    ...plan,
    name: `${plan.name}-kv`,
    grouping: "kv-head",
    rules: plan.rules.map((rules) =>
      Array.from({ length: plan.model.kvHeads }, (_, kv) =>
        rules.slice(kv * group, (kv + 1) * group).reduce((a, b) => (span(b) > span(a) ? b : a))
      )
    )
  }
}

const program = Effect.gen(function* () {
  const [file, out, ...flags] = process.argv.slice(2)
  if (file === undefined || out === undefined) {
    return yield* Effect.fail(new Error("usage: emit.ts PLAN.json OUT [--kv]"))
  }
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const json = yield* Schema.decode(Schema.parseJson(Schema.Object))(yield* fs.readFileString(file))
  const plan = yield* "alphas" in json ? fromOfficial(json, official) : Schema.decodeUnknown(Plan)(json)
  const params = yield* Schema.decode(EmitTritonParams)({})
  const files = yield* emitFiles(
    flags.includes("--kv") && plan.grouping === "query-head" ? perKvHead(plan) : plan,
    params
  )
  for (const [name, text] of Object.entries(files)) {
    const target = path.join(out, name)
    yield* fs.makeDirectory(path.dirname(target), { recursive: true })
    yield* fs.writeFileString(target, text)
  }
  yield* Effect.log(`${Object.keys(files).length} files in ${out}`)
})

NodeRuntime.runMain(program.pipe(Effect.provide(NodeContext.layer)))
