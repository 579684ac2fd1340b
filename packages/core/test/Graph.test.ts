import { Effect, Either, Schema, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { edges, Graph, int32, pipeline, source, stage, table, tree } from "../src/index.js"

const Numbers = table("Numbers/1", { n: int32 })
const first = stage("first", {
  version: "1",
  module: import.meta.url,
  inputs: {},
  outputs: { numbers: Numbers },
  params: Schema.Struct({ count: Schema.optionalWith(Schema.Int, { default: () => 3 }) }),
  run: () => Effect.succeed({ numbers: Stream.make({ n: 1 }) })
})
const next = stage("next", {
  version: "1",
  module: import.meta.url,
  inputs: { numbers: Numbers },
  outputs: { numbers: Numbers },
  params: Schema.Struct({}),
  run: ({ numbers }) => Effect.succeed({ numbers: numbers.rows })
})

describe("the nodes of a graph", () => {
  it("come producers first, each once, numbered where a stage is used again", () => {
    const { numbers } = first({}, {})
    const a = next({ numbers }, {})
    const b = next({ numbers: a.numbers }, {}, { name: "second" })
    const c = next({ numbers }, {})
    const names = Graph.nodes(edges({ b: b.numbers, c: c.numbers })).map((n) => n.name)
    expect(names).toEqual(["first", "next", "second", "next-2"])
  })

  it("can be 100,000 deep", () => {
    let ref = first({}, {}).numbers
    for (let i = 0; i < 100_000; i++) ref = next({ numbers: ref }, {}).numbers as typeof ref
    expect(Graph.nodes(edges({ ref })).length).toBe(100_001)
  })

  it("name a source after its contract", () => {
    const model = source(tree("Model/1"), "/somewhere")
    expect(Graph.nodes(edges({ model })).map((n) => [n.name, n.node.source])).toEqual([
      ["model", "/somewhere"]
    ])
  })
})

describe("a pipeline", () => {
  const parameterised = pipeline(
    "p",
    Schema.Struct({ count: Schema.optionalWith(Schema.Int, { default: () => 7 }) }),
    (p) => first({}, { count: p.count })
  )

  it("is built from decoded parameters, defaults applied", () => {
    const params = (input: unknown) =>
      Either.map(parameterised.build(input), (targets) => targets.numbers.edge.node.params)
    expect(params({})).toEqual(Either.right({ count: 7 }))
    expect(params({ count: 9 })).toEqual(Either.right({ count: 9 }))
  })

  it("refuses wrong and misspelt parameters by name", () => {
    for (const [input, word] of [
      [{ count: "many" }, "count"],
      [{ cuont: 1 }, "cuont"]
    ] as const) {
      const built = parameterised.build(input)
      expect(Either.isLeft(built) && built.left.reason).toBe("InvalidParameter")
      expect(Either.isLeft(built) && built.left.message).toContain(word)
    }
  })
})
