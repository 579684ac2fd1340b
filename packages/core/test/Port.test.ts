import { Schema } from "effect"
import { describe, expect, it } from "vitest"
import {
  arrowSchema,
  bool,
  document,
  fingerprint,
  float32,
  int32,
  int64,
  list,
  nullable,
  rowSchema,
  table,
  timestampMicros,
  tree,
  utf8,
  vec
} from "../src/index.js"

const Everything = table("Everything/1", {
  name: utf8,
  flag: bool,
  count: int32,
  big: nullable(int64),
  score: float32,
  at: timestampMicros,
  tokens: list(int32),
  direction: vec(3)
})

describe("a table declaration", () => {
  it("gives the Arrow schema in declared order, with the contract's name in its metadata", () => {
    const schema = arrowSchema(Everything)
    expect(schema.fields.map((f) => f.name)).toEqual(Object.keys(Everything.fields))
    expect(schema.metadata.get("tessera.table")).toBe("Everything/1")
  })

  it("gives an Effect Schema of its rows that refuses what a column cannot hold", () => {
    const decode = Schema.decodeUnknownSync(
      rowSchema(table("T/1", { count: int32, v: vec(2), big: nullable(int64) }))
    )
    expect(decode({ count: 3, v: [1, 2], big: null })).toEqual({ count: 3, v: [1, 2], big: null })
    expect(() => decode({ count: 2 ** 31, v: [1, 2], big: 1n })).toThrow(/count/)
    expect(() => decode({ count: 1.5, v: [1, 2], big: 1n })).toThrow(/count/)
    expect(() => decode({ count: 1, v: [1, 2, 3], big: 1n })).toThrow(/v/)
    expect(() => decode({ count: 1, v: [1, 2], big: 1 })).toThrow(/big/)
  })
})

describe("a fingerprint", () => {
  it("names every column with its type, parameters and nullability", () => {
    expect(fingerprint(Everything)).toBe(
      "Everything/1#name:Utf8,flag:Bool,count:Int32,big:Int64?,score:Float32," +
        "at:Timestamp<MICROSECOND>,tokens:List<Int32>,direction:FixedSizeList[3]<Float32>"
    )
  })

  it("changes with a document's schema and with a tree's name", () => {
    const one = document("D/1", Schema.Struct({ a: Schema.Int }))
    const two = document("D/1", Schema.Struct({ a: Schema.String }))
    expect(fingerprint(one)).not.toBe(fingerprint(two))
    expect(fingerprint(tree("Model/1"))).toBe("Model/1")
  })
})
