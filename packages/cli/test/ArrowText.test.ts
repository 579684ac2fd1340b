import * as Arrow from "apache-arrow"
import { describe, expect, it } from "vitest"
import * as ArrowText from "../src/ArrowText.js"

const list = new Arrow.List(new Arrow.Field("item", new Arrow.Float32(), false))
const table = new Arrow.Table({
  name: Arrow.vectorFromArray(["b", "a", null], new Arrow.Utf8()),
  big: Arrow.vectorFromArray([1n, 2n, 9007199254740993n], new Arrow.Int64()),
  loss: Arrow.vectorFromArray([0.5, Number.NaN, 2], new Arrow.Float64()),
  kv_bytes: Arrow.vectorFromArray([2_000_000, 1000, 0], new Arrow.Float64()),
  window: Arrow.vectorFromArray([[1, 2], [], [3, 4, 5, 6, 7]], list),
  cut: Arrow.vectorFromArray([true, false, true], new Arrow.Bool())
})

describe("statistics", () => {
  it("describes each kind of column", () => {
    expect(ArrowText.statistics(table)).toEqual([
      {
        column: "name",
        type: "Utf8",
        nulls: 1,
        distinct: 2,
        min: "a",
        max: "b",
        length: { min: 1, mean: 1, max: 1 }
      },
      expect.objectContaining({ column: "big", type: "Int64", distinct: 3, min: 1 }),
      { column: "loss", type: "Float64", nulls: 0, distinct: 3, min: 0.5, mean: 1.25, max: 2 },
      expect.objectContaining({ column: "kv_bytes", min: 0, max: 2_000_000 }),
      {
        column: "window",
        type: "List<Float32>",
        nulls: 0,
        min: 1,
        mean: 4,
        max: 7,
        length: { min: 0, mean: 7 / 3, max: 5 }
      },
      expect.objectContaining({ column: "cut", type: "Bool", distinct: 2, mean: 2 / 3 })
    ])
    expect(ArrowText.statisticsText(ArrowText.statistics(table))).toMatch(
      /window +List<Float32> +0 +1 +4 +7 +0–5, mean 2.333/
    )
  })

  it("of no rows has no range", () => {
    const empty = new Arrow.Table(table.schema)
    expect(ArrowText.statistics(empty)[2]).toEqual({ column: "loss", type: "Float64", nulls: 0, distinct: 0 })
  })
})

describe("rows", () => {
  it("aligns numbers, shortens lists and texts, and shows byte counts in bytes", () => {
    const lines = ArrowText.rows(table, 3).split("\n")
    expect(lines[0]).toMatch(/^name +big +loss +kv_bytes +window +cut$/)
    expect(lines[2]).toMatch(/^b +1 +0\.500 +2\.00 MB +\[1, 2\] +true$/)
    expect(lines[4]).toMatch(/^– +9,007,199,254,740,99\d +2\.000 +0 B +\[3, 4, 5, 6, … 5\] +true$/)
  })
})

describe("json", () => {
  it("keeps what JSON holds and turns the rest into text", () => {
    expect(
      [5n, 9007199254740993n, Number.NaN, null, undefined, new Float32Array([1, 2])].map(ArrowText.json)
    ).toEqual([5, "9007199254740993", "NaN", null, null, [1, 2]])
  })
})
