import { stripVTControlCharacters } from "node:util"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Format from "../src/Format.js"

describe("numbers", () => {
  it("gives a column equal decimals, about four digits of its largest value", () => {
    expect(Format.numbers([0.98, 1, 0.48333333])).toEqual(["0.980", "1.000", "0.483"])
    expect(Format.numbers([0.02, 0.4])).toEqual(["0.020", "0.400"])
    expect(Format.numbers([512, 2048])).toEqual(["512", "2048"])
    expect(Format.numbers([512.5, 2048, null])).toEqual(["513", "2048", "–"])
    expect(Format.numbers([1234567, 10000])).toEqual(["1,234,567", "10,000"])
    expect(Format.numbers([0.0000123, 0])).toEqual(["1.23e-5", "0.000"])
    expect(Format.numbers([NaN, Infinity, 1.5])).toEqual(["NaN", "Infinity", "1.500"])
  })

  it("never loses more than a thousandth of the largest value", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 }), (values) => {
        const largest = Math.max(...values.map(Math.abs))
        const read = Format.numbers(values).map((text) => Number(text.replaceAll(",", "")))
        const errors = read.map((value, i) => Math.abs(value - (values[i] ?? NaN)))
        expect(Math.max(...errors)).toBeLessThanOrEqual(Math.max(largest, 1) / 1000)
      })
    )
  })
})

describe("columns", () => {
  it("aligns cells under their titles, whatever colours they carry", () => {
    const text = Format.columns([
      { title: "node", cells: ["a", "longer"] },
      { title: "n", align: "right", cells: ["\u001b[32m5\u001b[39m", "1000"] }
    ])
    expect(stripVTControlCharacters(text).split("\n")).toEqual([
      "node       n",
      "──────  ────",
      "a          5",
      "longer  1000"
    ])
  })
})

describe("durations, sizes and digests", () => {
  it("are short", () => {
    expect([400, 9_940, 42_000, 59_700, 185_000, 7_620_000].map(Format.duration)).toEqual([
      "0.4 s",
      "9.9 s",
      "42 s",
      "1m 00s",
      "3m 05s",
      "2h 07m"
    ])
    expect([0, 999, 1000, 3_210_000].map(Format.bytes)).toEqual(["0 B", "999 B", "1.00 kB", "3.21 MB"])
    expect(Format.digest(`sha256:${"0123456789abcdef".repeat(4)}`)).toBe("sha256:0123456789ab")
    expect(Format.cut("a\n b  c", 4)).toBe("a b…")
  })
})
