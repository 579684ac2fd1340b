import { Schema } from "effect"
import { describe, expect, it } from "vitest"
import { document, fingerprint } from "../src/index.js"

const of = <A, I>(schema: Schema.Schema<A, I>) => fingerprint(document("D/1", schema))

interface Node {
  readonly value: number
  readonly children: ReadonlyArray<Node>
}
const recursive = (value: Schema.Schema<number>): Schema.Schema<Node> => {
  const self: Schema.Schema<Node> = Schema.Struct({
    value,
    children: Schema.Array(Schema.suspend(() => self))
  })
  return self
}

describe("the fingerprint of a document", () => {
  it("changes with a schema behind an identifier", () => {
    const named = <A, I>(schema: Schema.Schema<A, I>) => of(schema.annotations({ identifier: "Named" }))
    expect(named(Schema.Struct({ a: Schema.Number }))).not.toBe(named(Schema.Struct({ a: Schema.String })))
    const inside = <A, I>(schema: Schema.Schema<A, I>) =>
      of(Schema.Struct({ inner: schema.annotations({ identifier: "Inner" }) }))
    expect(inside(Schema.Struct({ a: Schema.Number }))).not.toBe(inside(Schema.Struct({ b: Schema.Number })))
    class One extends Schema.Class<One>("C")({ a: Schema.Number }) {}
    class Two extends Schema.Class<Two>("C")({ a: Schema.Number, b: Schema.String }) {}
    expect(of(One)).not.toBe(of(Two))
  })

  it("does not change with names, descriptions and the order of properties", () => {
    const plain = Schema.Struct({ a: Schema.Number, b: Schema.String })
    const told = Schema.Struct({
      b: Schema.String.annotations({ description: "a text" }),
      a: Schema.Number.annotations({ title: "a number", examples: [1] })
    }).annotations({ identifier: "Told", description: "both" })
    expect(of(told)).toBe(of(plain))
  })

  it.each([
    ["a bound", Schema.Number.pipe(Schema.between(0, 1)), Schema.Number.pipe(Schema.between(0, 2))],
    ["an integer", Schema.Int, Schema.Number],
    ["a pattern", Schema.String.pipe(Schema.pattern(/a/)), Schema.String.pipe(Schema.pattern(/b/))],
    ["a length", Schema.Array(Schema.Number).pipe(Schema.minItems(1)), Schema.Array(Schema.Number)],
    ["a literal", Schema.Literal("a", "b"), Schema.Literal("a", "c")],
    ["a literal's type", Schema.Literal(1), Schema.Literal("1")],
    [
      "an optional property",
      Schema.Struct({ a: Schema.optional(Schema.Number) }),
      Schema.Struct({ a: Schema.Number })
    ],
    [
      "an element of a tuple",
      Schema.Tuple(Schema.String, Schema.Number),
      Schema.Tuple(Schema.String, Schema.String)
    ],
    ["the rest of an array", Schema.Array(Schema.String), Schema.Tuple(Schema.String)],
    [
      "the values of a record",
      Schema.Record({ key: Schema.String, value: Schema.Number }),
      Schema.Record({ key: Schema.String, value: Schema.String })
    ],
    ["what a decoded value is written as", Schema.NumberFromString, Schema.Number],
    ["a template", Schema.TemplateLiteral("a", Schema.Number), Schema.TemplateLiteral("b", Schema.Number)]
  ] as ReadonlyArray<readonly [string, Schema.Schema<unknown>, Schema.Schema<unknown>]>)(
    "changes with %s",
    (_, one, two) => {
      expect(of(one)).not.toBe(of(two))
      expect(of(Schema.Struct({ deep: Schema.NullOr(one) }))).not.toBe(
        of(Schema.Struct({ deep: Schema.NullOr(two) }))
      )
    }
  )

  it("is finite for a recursive schema, and changes with it", () => {
    expect(of(recursive(Schema.Number))).toBe(of(recursive(Schema.Number)))
    expect(of(recursive(Schema.Number))).not.toBe(of(recursive(Schema.Int)))
  })

  it("is pinned: a change of its text changes the keys of every stage with a document", () => {
    const schema = Schema.Struct({
      at: Schema.Date,
      by: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 1 }),
      kind: Schema.Literal("a", 2, null),
      rules: Schema.Record({ key: Schema.String, value: Schema.Tuple(Schema.Number, Schema.Boolean) })
    })
    expect(of(schema)).toBe(
      'D/1#{"at":string&effect/SchemaId/ValidDate,"by"?:(number&{"type":"integer"}&{"exclusiveMinimum":0}|undefined),' +
        '"kind":("a"|2|null),"rules":{[string]:[number,boolean]}}'
    )
  })
})
