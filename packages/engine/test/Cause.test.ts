import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { document, pipeline, source, stage, tree } from "@tessera/core"
import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { explain, plan, run } from "../src/index.js"
import { folder, inStore } from "./harness.js"
import { module, sums } from "./stages.js"

const Text = document("Text/1", Schema.String)
const Folder = tree("Folder/1")

/** A stage that appends to its input; its code is a file of its own. */
const append = (id: string, code: string) =>
  stage(id, {
    version: "1",
    module: code,
    inputs: { text: Text },
    outputs: { text: Text },
    params: Schema.Struct({ word: Schema.String }),
    run: ({ text }, { word }) => Effect.map(text.value, (before) => ({ text: `${before} ${word}` }))
  })
const begin = stage("begin", {
  version: "1",
  module,
  inputs: {},
  outputs: { text: Text },
  params: Schema.Struct({ word: Schema.String }),
  run: (_, { word }) => Effect.succeed({ text: word })
})

/** A code file of the same name in a folder of its own. */
const code = (name: string, text: string): string => {
  const file = join(folder(), name)
  writeFileSync(file, text)
  return pathToFileURL(file).href
}

/** begin → calibrate → profile → optimise. */
const loop = (options: { begin?: string; calibrate?: string; code?: string; profile?: string }) => {
  const { text } = begin({}, { word: options.begin ?? "a" })
  const calibrated = append("calibrate", options.code ?? module)(
    { text },
    { word: options.calibrate ?? "b" }
  ).text
  const profiled = append("profile", module)({ text: calibrated }, { word: options.profile ?? "c" }).text
  const optimised = append("optimise", module)({ text: profiled }, { word: "d" }).text
  return pipeline("loop", { profiled, optimised })
}

const reasonOf = async (root: string, options: Parameters<typeof loop>[0], node: string) =>
  (await inStore(root, explain(loop(options), node))).reason

/** Runs the whole, then what comes before `optimise` under other options, so that only that is left to explain. */
const edited = async (before: Parameters<typeof loop>[0], after: Parameters<typeof loop>[0]) => {
  const root = folder()
  await inStore(root, run(loop(before)))
  await inStore(root, run(loop(after), { targets: ["profiled"] }))
  return root
}

describe("a changed input is explained by what changed it", () => {
  it("a parameter of the stage before", async () => {
    const root = folder()
    await inStore(root, run(sums))
    await inStore(root, run(sums, { params: { by: 3 }, targets: ["scaled"] }))
    const { reason } = await inStore(root, explain(sums, "total", { params: { by: 3 } }))
    expect(reason).toBe("input numbers changed because stage scale's param by 2 → 3")
  })

  it("the code of a stage, by file, however far up", async () => {
    const [one, two] = ["export const x = 1", "export const x = 2"].map((text) => code("calibrate.ts", text))
    const options = { code: one ?? "" }
    const after = { code: two ?? "", calibrate: "B" }
    const root = await edited(options, after)
    expect(await reasonOf(root, after, "profile")).toBe("cached")
    expect(await reasonOf(root, after, "optimise")).toBe(
      "input text changed because stage calibrate's code changed: calibrate.ts, param word b → B"
    )
  })

  it("the first stage of several that changed", async () => {
    const root = await edited({}, { begin: "A", profile: "C" })
    expect(await reasonOf(root, { begin: "A", profile: "C" }, "optimise")).toBe(
      "input text changed because stage profile's param word c → C"
    )
  })

  it("beside what changed in the node itself", async () => {
    const root = await edited({}, { begin: "A" })
    const explained = await inStore(
      root,
      explain(loop({ begin: "A" }), "optimise", { set: { optimise: { word: "D" } } })
    )
    expect(explained.differences).toEqual([
      "param word d → D",
      "input text changed because stage begin's param word a → A"
    ])
  })

  it("the content of a source", async () => {
    const data = folder()
    mkdirSync(join(data, "data"))
    const read = stage("read", {
      version: "1",
      module,
      inputs: { folder: Folder },
      outputs: { text: Text },
      params: Schema.Struct({}),
      run: () => Effect.succeed({ text: "" })
    })
    const reading = pipeline("reading", {
      text: read({ folder: source(Folder, join(data, "data"), { name: "corpus" }) }, {}).text
    })
    const root = folder()
    writeFileSync(join(data, "data/a.txt"), "a")
    await inStore(root, run(reading))
    writeFileSync(join(data, "data/a.txt"), "another")
    const { reason } = await inStore(root, explain(reading, "read"))
    expect(reason).toBe("input folder changed because the content of source corpus changed")
  })

  it("a shard that came or went", async () => {
    const root = folder()
    await inStore(root, run(sums))
    await inStore(root, run(sums, { params: { groups: ["a", "b"] }, targets: ["scaled"] }))
    const fewer = await inStore(root, explain(sums, "total", { params: { groups: ["a", "b"] } }))
    expect(fewer.reason).toBe("input numbers changed because scale has fewer shards")
  })
})

describe("a plan says why what a node waits for would run", () => {
  const statuses = async (root: string, options: Parameters<typeof loop>[0]) =>
    Object.fromEntries(
      (await inStore(root, plan(loop(options)))).map(({ node, status, reason }) => [
        node,
        `${status}: ${reason}`
      ])
    )

  it("with the reason at the far end", async () => {
    const root = folder()
    await inStore(root, run(loop({})))
    expect(await statuses(root, { calibrate: "B" })).toEqual({
      begin: "cached: cached",
      calibrate: "run: param word b → B",
      profile: "unknown: waits for calibrate (param word b → B)",
      optimise: "unknown: waits for profile, behind calibrate (param word b → B)"
    })
  })

  it("and only that it waits where nothing ever ran", async () => {
    expect(await statuses(folder(), {})).toEqual({
      begin: "run: never ran",
      calibrate: "unknown: waits for begin",
      profile: "unknown: waits for calibrate",
      optimise: "unknown: waits for profile"
    })
  })
})
