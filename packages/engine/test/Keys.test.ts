import { existsSync } from "node:fs"
import { join } from "node:path"
import { document, int32, key, pipeline, provide, stage, table, utf8, type Manifest } from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Context, Effect, Either, Layer, Schema } from "effect"
import { expect, it } from "vitest"
import { explain, plan, run } from "../src/index.js"
import { internal } from "../src/Keys.js"
import { failure, folder, inStore } from "./harness.js"
import { module } from "./stages.js"

const manifest: Manifest = {
  format: 1,
  stage: "profile",
  version: "1",
  code: "sha256:00",
  params: { aggregation: "abs-sample", length: 2048, nested: { b: [1, 2.5, null], a: true } },
  inputs: { model: ["Model/1", "sha256:01"], calibration: ["CalibrationSet/1", "sha256:02"] },
  outputs: { influence: "Influence/1#length:Int32" },
  environment: { runtime: "cpu" }
}

// A changed digest here means that every user's store is recomputed: change the manifest's format on purpose, or not.
it("the key of a manifest stays the same from release to release", () => {
  expect(Either.getOrThrow(key(manifest))).toBe(
    "sha256:d0b1e645d3bbb738b43b48e9114d4b309ba5e6b2d63bc34c164372a4287906c9"
  )
})

it("the key of an internal split stays the same from release to release", () => {
  const table = { kind: "table", type: "Numbers/1", digest: "sha256:03", size: 1, rows: 1 } as const
  expect(Effect.runSync(internal("split", { table }, { by: "length" }, "Numbers/1")).key).toBe(
    "sha256:f925a133d60ae17f84e4d62fc2d48036604a0e5807df0f54850fa338c9b1e63c"
  )
})

const Text = document("Text/1", Schema.String)
class Device extends Context.Tag("Device")<Device, { readonly driver: string; readonly chip: string }>() {}

const onDevice = (reproducible: "bitwise" | "device") =>
  stage("measure", {
    version: "1",
    module,
    inputs: {},
    outputs: { text: Text },
    params: Schema.Struct({ at: Schema.optionalWith(Schema.Date, { default: () => new Date(0) }) }),
    reproducible,
    fingerprint: Effect.map(Device, ({ driver, chip }) => ({ facts: { driver }, device: { chip } })),
    run: () => Effect.succeed({ text: "measured" })
  })
const measured = (reproducible: "bitwise" | "device", device: { driver: string; chip: string }) =>
  provide(pipeline("m", { t: onDevice(reproducible)({}, {}).text }), Layer.succeed(Device, device))

it("facts of the services are part of the key, those of the device only where the stage says so", async () => {
  const root = folder()
  const at = (reproducible: "bitwise" | "device", driver: string, chip: string) =>
    inStore(root, explain(measured(reproducible, { driver, chip }), "measure"))
  const base = await at("bitwise", "1", "h200")
  expect((await at("bitwise", "1", "b200")).key).toBe(base.key)
  expect((await at("bitwise", "2", "h200")).key).not.toBe(base.key)
  expect((await at("device", "1", "h200")).key).not.toBe((await at("device", "1", "b200")).key)
  expect((await at("device", "1", "h200")).manifest.environment).toEqual({
    driver: "1",
    "device:chip": "h200"
  })
})

it("modules that a service names are part of the code", async () => {
  const named = (modules: ReadonlyArray<string>) =>
    stage("named", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: Schema.Struct({}),
      fingerprint: Effect.succeed({ facts: {}, modules }),
      run: () => Effect.succeed({ text: "" })
    })
  const code = async (modules: ReadonlyArray<string>) =>
    (await inStore(folder(), explain(pipeline("named", { t: named(modules)({}, {}).text }), "named")))
      .manifest.code
  const other = new URL("../src/Difference.ts", import.meta.url).href
  expect(await code([other])).not.toBe(await code([]))
  expect(await code([module])).toBe(await code([]))
})

it("parameters are in the manifest encoded, with defaults applied", async () => {
  const { manifest } = await inStore(
    folder(),
    explain(measured("bitwise", { driver: "1", chip: "" }), "measure")
  )
  expect(manifest.params).toEqual({ at: "1970-01-01T00:00:00.000Z" })
})

it("a parameter without an encoding to JSON is an error", async () => {
  const odd = stage("odd", {
    version: "1",
    module,
    inputs: {},
    outputs: { text: Text },
    params: Schema.Struct({ at: Schema.DateFromSelf }),
    run: () => Effect.succeed({ text: "" })
  })
  const error = await failure(folder(), run(pipeline("odd", { t: odd({}, { at: new Date(0) }).text })))
  expect(error).toMatchObject({ _tag: "GraphError", reason: "Unencodable", where: "stage odd" })
})

it("a stage gets no more of a parameter than what is in its key", async () => {
  const got: Array<unknown> = []
  const lossy = stage("lossy", {
    version: "1",
    module,
    inputs: {},
    outputs: { text: Text },
    params: Schema.Struct({
      at: Schema.transform(Schema.Number, Schema.Number, { decode: (n) => n, encode: (n) => Math.round(n) })
    }),
    run: (_, { at }) => Effect.sync(() => ({ text: String(got.push(at)) }))
  })
  await inStore(folder(), run(pipeline("lossy", { t: lossy({}, { at: 1.4 }).text })))
  expect(got).toEqual([1])
})

it("a fingerprint that fails, and a layer that cannot be built, fail the node that needs them", async () => {
  const asking = stage("asking", {
    version: "1",
    module,
    inputs: {},
    outputs: { text: Text },
    params: Schema.Struct({}),
    fingerprint: Effect.fail("no runtime" as const),
    run: () => Effect.succeed({ text: "" })
  })
  expect(await failure(folder(), run(pipeline("asking", { t: asking({}, {}).text })))).toMatchObject({
    _tag: "StageFailed",
    node: "asking",
    cause: "no runtime"
  })
  const unbuildable = provide(
    pipeline("m", { t: onDevice("bitwise")({}, {}).text }),
    Layer.fail("no device" as const) as Layer.Layer<Device, "no device">
  )
  expect(await failure(folder(), run(unbuildable))).toMatchObject({
    _tag: "StageFailed",
    node: "measure",
    cause: "no device"
  })
})

it("a layer nobody needs is not built", async () => {
  const plain = stage("plain", {
    version: "1",
    module,
    inputs: {},
    outputs: { text: Text },
    params: Schema.Struct({}),
    run: () => Effect.map(Device, ({ driver }) => ({ text: driver }))
  })
  let built = 0
  const layer = Layer.sync(Device, () => {
    built++
    return { driver: "1", chip: "" }
  })
  const root = folder()
  const lazy = provide(pipeline("plain", { t: plain({}, {}).text }), layer)
  await inStore(root, run(lazy))
  expect(built).toBe(1)
  await inStore(root, run(lazy))
  expect(built).toBe(1)
})

it.each([
  ["NaN", Number.NaN],
  ["an infinity", Infinity],
  ["undefined within", { a: undefined }],
  ["a bigint", 1n],
  ["a date", new Date(0)],
  ["a map", new Map([["a", 1]])],
  ["a function", () => 1],
  ["a symbol", Symbol("a")],
  ["half a character", "\ud800"],
  [
    "an instance",
    new (class Rule {
      readonly a = 1
    })()
  ]
])("a parameter that holds %s is an error that names it, and nothing is stored", async (_, value) => {
  const open = stage("open", {
    version: "1",
    module,
    inputs: {},
    outputs: { text: Text },
    params: Schema.Struct({ rule: Schema.Unknown }),
    run: () => Effect.succeed({ text: "" })
  })
  const root = folder()
  const graph = pipeline("open", { t: open({}, { rule: { x: value } }).text })
  const error = await failure(root, run(graph))
  expect(error).toMatchObject({ _tag: "GraphError", reason: "Unencodable", where: "stage open" })
  expect(error.message).toContain("value.rule.x")
  expect(await failure(root, plan(graph))).toMatchObject({ reason: "Unencodable" })
  expect(existsSync(join(root, "actions"))).toBe(false)
})

it.each([
  ["another type", { n: [1.5], text: ["a"] }, "column n is"],
  ["a column less", { text: ["a"] }, "no column n"],
  ["a null where none may be", { n: [1, null], text: ["a", "b"] }, "column n has nulls"]
])("a table with %s than its port says is an error, and nothing is stored", async (_, columns, words) => {
  const Rows = table("Rows/1", { n: int32, text: utf8 })
  const wrong = stage("wrong", {
    version: "1",
    module,
    inputs: {},
    outputs: { rows: Rows },
    params: Schema.Struct({}),
    run: () =>
      Effect.succeed({
        rows: new Arrow.Table(
          Object.fromEntries(
            Object.entries(columns).map(([name, values]) => [
              name,
              name === "text"
                ? Arrow.vectorFromArray(values as ReadonlyArray<string>, new Arrow.Utf8())
                : Arrow.vectorFromArray(
                    values as ReadonlyArray<number>,
                    words.includes("is") ? new Arrow.Float64() : new Arrow.Int32()
                  )
            ])
          )
        )
      })
  })
  const root = folder()
  const error = await failure(root, run(pipeline("wrong", { rows: wrong({}, {}).rows })))
  expect(error).toMatchObject({ _tag: "EngineError", reason: "Output", where: "wrong.rows" })
  expect(error.message).toContain(words)
  expect(existsSync(join(root, "actions"))).toBe(false)
})
