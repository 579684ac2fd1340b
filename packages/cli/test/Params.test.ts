import { edges, Graph, int32, pipeline, stage, table } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"
import { describe, expect, it } from "vitest"
import * as Params from "../src/Params.js"

const Items = table("Items/1", { item: int32 })
const make = stage("make", {
  version: "1",
  module: import.meta.url,
  inputs: {},
  outputs: { items: Items },
  params: Schema.Struct({
    name: Schema.optionalWith(Schema.String, { default: () => "" }),
    solver: Schema.Struct({ gap: Schema.Number, name: Schema.String })
  }),
  run: () => Effect.succeed({ items: Stream.empty })
})

const example = pipeline(
  "example",
  Schema.Struct({
    lengths: Schema.optionalWith(Schema.Array(Schema.Int), { default: () => [512] }),
    model: Schema.optionalWith(Schema.String, { default: () => "" }),
    seed: Schema.optionalWith(Schema.Union(Schema.Int, Schema.String), { default: () => 0 })
  }),
  () => make({}, { solver: { gap: 0.1, name: "highs" } }, { name: "make-25.lines" })
)
const nodes = Graph.nodes(edges(Effect.runSync(example.build({}))))

const params = (...assignments: ReadonlyArray<string>) => Effect.runSync(Params.params(example, assignments))
const set = (...assignments: ReadonlyArray<string>) => Effect.runSync(Params.set(nodes, assignments))

describe("params", () => {
  it("reads JSON where the schema takes it, else text", () => {
    expect(params("lengths=[512,1024]", "model=123", "seed=7")).toEqual({
      lengths: [512, 1024],
      model: "123",
      seed: 7
    })
    expect(params("model=a=b", "seed=x")).toEqual({ model: "a=b", seed: "x" })
    expect(params("model=", "other=true")).toEqual({ model: "", other: true })
  })

  it("refuses what is no assignment", () => {
    expect(() => params("density")).toThrow("--param density: expected name=value")
    expect(() => params("=1")).toThrow("expected name=value")
  })
})

describe("set", () => {
  it("finds the node though its name has dots, or by the id of its stage", () => {
    expect(set("make-25.lines.name=5")).toEqual({ "make-25.lines": { name: "5" } })
    expect(set("make.name=5")).toEqual({ make: { name: "5" } })
  })

  it("sets one field of a nested parameter, and several in turn", () => {
    expect(set("make.solver.gap=1")).toEqual({ make: { solver: { gap: 1, name: "highs" } } })
    expect(set("make.solver.gap=1", "make.solver.name=2")).toEqual({
      make: { solver: { gap: 1, name: "2" } }
    })
  })

  it("leaves unknown nodes and parameters for the engine to name", () => {
    expect(set("mak.name=5")).toEqual({ mak: { name: 5 } })
    expect(() => set("make=5")).toThrow("expected node.param=value")
  })
})
