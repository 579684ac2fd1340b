import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type PlanArgs, readPlan } from "../src/PlanFile.js"

const shape = "layers=1,query-heads=4,kv-heads=2,head-dim=8"
const official = { alphas: [[0, 128, 0, 0]], betas: [[0.5, 0, 1, 1]] }

let cwd = ""
beforeAll(() => {
  cwd = mkdtempSync(path.join(tmpdir(), "tessera-plans-"))
  const write = (name: string, text: string) => writeFileSync(path.join(cwd, name), text)
  write("moa.json", JSON.stringify(official))
  write("broken.json", "{")
  write("other.json", `{"layers":3}`)
  write("negative.json", JSON.stringify({ ...official, betas: [[0.5, -1, 1, 1]] }))
  write("nan.json", JSON.stringify(official).replace("0.5", "null"))
  write("moa.csv", "layer_id,head_id,alpha_value,beta_value\n0,0,64,0\n0,1,0,1\n")
  write("bad.csv", "layer_id,head_id,alpha_value,beta_value\n0,0,nan,0\n")
  write("two.csv", "plan_id,layer_id,head_id,alpha_value,beta_value\n0,0,0,1,0\n1,0,0,1,0\n")
  for (const folder of ["empty", "half", "duo"]) mkdirSync(path.join(cwd, folder))
  for (const folder of ["half", "duo"]) write(`${folder}/full_attention_heads.tsv`, "1.0\t0.25\n")
  write("duo/config.json", `{"sink_size":64,"recent_size":256}`)
})
afterAll(() => rmSync(cwd, { recursive: true, force: true }))

const nothing: PlanArgs["foreign"] = {
  name: undefined,
  model: undefined,
  shape: undefined,
  block: undefined,
  sink: undefined,
  recent: undefined,
  threshold: undefined,
  sparsity: undefined
}

const read = (
  file: string,
  foreign: Partial<PlanArgs["foreign"]> = { shape },
  more: Partial<PlanArgs> = {}
) =>
  readPlan({
    file: path.join(cwd, file),
    plan: undefined,
    lengths: undefined,
    fold: false,
    foreign: { ...nothing, ...foreign },
    store: path.join(cwd, ".tessera"),
    json: false,
    ...more
  }).pipe(Effect.provide(NodeContext.layer))

const refusal = async (...of: Parameters<typeof read>): Promise<string> => {
  const error = await Effect.runPromise(Effect.flip(read(...of)))
  expect(error).toMatchObject({ _tag: "CliError", reason: expect.stringMatching(/^(PlanFile|Parameter)$/) })
  return [error.message, "hint" in error ? error.hint : ""].join("\n")
}

describe("a file of a plan", () => {
  it.each([
    ["is not there", "absent.json", "there is no such file, and no such artifact in the store"],
    ["is not JSON", "broken.json", "broken.json: is not JSON"],
    ["has a window that shrinks", "negative.json", "betas[0][1] is -1, and a window cannot shrink"],
    ["has a rule that is no number", "nan.json", "actual null"],
    ["has a cell that is no number", "bad.csv", 'line 2: alpha_value is "nan"'],
    ["holds several plans", "two.csv", "it holds plans 0, 1; say which one"],
    ["is a folder of something else", "empty", "is a folder without full_attention_heads.tsv"],
    ["is half a pattern", "half", "half/config.json: cannot be read"]
  ])("that %s is refused", async (_, file, message) => {
    expect(await refusal(file)).toContain(message)
  })

  it("that is other JSON is refused, and so are options that a plan document makes needless", async () => {
    expect(await refusal("other.json", {})).toContain("is no plan document: format: is missing")
    expect(await refusal("other.json")).toContain("--shape: is for files that do not say it")
  })

  it("that names no model needs one", async () => {
    expect(await refusal("moa.json", {})).toMatch(
      /says nothing of the model that it is for\n.*--model my-model/
    )
    expect(await refusal("moa.json", { model: "absent" })).toMatch(/--model absent: .*no such file/)
  })

  it.each([
    ["lacks query-heads, kv-heads, head-dim", { shape: "layers=1,heads=4" }],
    ["has no hidden", { shape: `${shape},hidden=64` }],
    ["cannot share 2 KV heads", { shape: "layers=1,query-heads=3,kv-heads=2,head-dim=8" }],
    ["layers: Expected a positive number", { shape: "layers=0,query-heads=4,kv-heads=2,head-dim=8" }],
    ["the model has 1 layers of 8 query heads", { shape: "layers=1,query-heads=8,kv-heads=2,head-dim=8" }],
    ["--sink 100: is no whole number of blocks of 64", { shape, sink: 100 }],
    ["--recent: is for DuoAttention folders", { shape, recent: 64 }]
  ])("is refused with options that do not fit: %s", async (message, foreign) => {
    expect(await refusal("moa.json", foreign)).toContain(message)
  })

  it("of DuoAttention is refused with options that do not fit", async () => {
    expect(await refusal("duo", { shape, block: 48 })).toContain(
      "the sink of 64 tokens is no whole number of blocks of 48"
    )
    expect(await refusal("duo", { shape, threshold: 0.5, sparsity: 0.5 })).toContain("give one of them")
  })

  it.each(["4k,none", "0", "", "-5", "1.5"])("is refused at lengths %s", async (lengths) => {
    expect(await refusal("moa.json", { shape }, { lengths })).toContain("expected lengths in tokens")
  })

  it("is read at the lengths asked for, with the geometry given", async () => {
    const { lengths, plan } = await Effect.runPromise(
      read("moa.json", { shape, block: 16, sink: 32, name: "mine" }, { lengths: "512, 4k" })
    )
    expect(lengths).toEqual([512, 4096])
    expect(plan).toMatchObject({ name: "mine", geometry: { block: 16, sink: 32 }, grouping: "query-head" })
  })

  it("of DuoAttention is deployed with the sizes given", async () => {
    const { plan } = await Effect.runPromise(read("duo", { shape, sink: 128, recent: 512 }))
    expect(plan.rules).toEqual([
      [
        { alpha: 0, beta: 1 },
        { alpha: 640, beta: 0 }
      ]
    ])
  })
})
