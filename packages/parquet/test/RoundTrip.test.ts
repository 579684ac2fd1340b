import { type Fields, float64, int32, nullable, table, type Table, utf8 } from "@tessera/core"
import type * as Arrow from "apache-arrow"
import { Effect, Stream } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { declare, decode, decodeBatches, encode, writerFor } from "../src/index.js"
import { arrow, columns, columnsOf, Everything, kinds, tableOf } from "./tables.js"

const compressions = ["snappy", "zstd", "gzip", "none"] as const

const roundTrip = (of: Table<Fields>, content: Arrow.Table, compression: (typeof compressions)[number]) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const bytes = yield* encode(of, content, { compression })
      const back = yield* decode(of, bytes)
      const declared = yield* declare(bytes)
      return { back, declared: yield* decode(declared, bytes) }
    })
  )

describe("a table written and read back", () => {
  it("has equal values in every column type, whatever batches and slices it came in", async () => {
    await fc.assert(
      fc.asyncProperty(
        columnsOf(Object.keys(kinds)),
        fc.integer({ min: 1, max: 7 }),
        fc.constantFrom(...compressions),
        async (content, batchRows, compression) => {
          const whole = arrow(Everything, content, batchRows)
          const { back } = await roundTrip(Everything, whole, compression)
          expect(columns(back)).toEqual(content)
          const half = Math.floor(whole.numRows / 2)
          const sliced = await roundTrip(Everything, whole.slice(half), compression)
          expect(columns(sliced.back)).toEqual(columns(whole.slice(half)))
        }
      ),
      { numRuns: 60 }
    )
  }, 120_000)

  const plain = [
    "utf8",
    "bool",
    "int32",
    "float64",
    "maybe_utf8",
    "maybe_bool",
    "maybe_int32",
    "maybe_float64"
  ]

  it("has equal values when it is a table for parquetjs-lite too, and when it nearly is", async () => {
    const written = { "parquetjs-lite": 0, hyparquet: 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.subarray(plain, { minLength: 1 }).chain((names) => fc.tuple(fc.constant(names), columnsOf(names))),
        fc.constantFrom(...compressions),
        async ([names, content], compression) => {
          const of = tableOf(names)
          const whole = arrow(of, content, 5)
          written[writerFor(of, whole, compression).library]++
          const { back, declared } = await roundTrip(of, whole, compression)
          expect(columns(back)).toEqual(content)
          expect(columns(declared)).toEqual(content)
        }
      ),
      { numRuns: 120 }
    )
    expect(written["parquetjs-lite"]).toBeGreaterThan(10)
    expect(written.hyparquet).toBeGreaterThan(10)
  }, 120_000)

  it.each(compressions)("may be empty (%s)", async (compression) => {
    const empty = Object.fromEntries(Object.keys(kinds).map((name) => [name, []]))
    const { back } = await roundTrip(Everything, arrow(Everything, empty), compression)
    expect(back.numRows).toBe(0)
    expect(columns(back)).toEqual(empty)
    const text = table("Text/1", { word: utf8 })
    expect((await roundTrip(text, arrow(text, { word: [] }), compression)).back.numRows).toBe(0)
  })

  it.each([
    ["parquetjs-lite", table("Words/1", { word: utf8, n: int32 })],
    ["hyparquet", table("Words/1", { word: utf8, n: float64 })]
  ] as const)("may have texts of more than 1 MB (%s)", async (library, of) => {
    const content = { word: ["a".repeat(3_000_000), "", "🦊é".repeat(500_000)], n: [1, 2, -0] }
    if (library === "parquetjs-lite") content.n = [1, 2, 3]
    const whole = arrow(of, content)
    expect(writerFor(of, whole, "snappy").library).toBe(library)
    expect(columns((await roundTrip(of, whole, "snappy")).back)).toEqual(content)
  })

  it("may have dictionary-encoded columns, which come back as what they are of", async () => {
    const of = table("Words/1", { word: utf8, other: nullable(utf8) })
    const { vectorFromArray, Dictionary, Int32, Utf8, Table: ArrowTable } = await import("apache-arrow")
    const dictionary = (words: ReadonlyArray<string | null>) =>
      vectorFromArray(words, new Dictionary(new Utf8(), new Int32()))
    const content = new ArrowTable({
      word: dictionary(["q", "k", "q"]),
      other: dictionary([null, "é", null])
    })
    const { back } = await roundTrip(of, content, "snappy")
    expect(columns(back)).toEqual({ word: ["q", "k", "q"], other: [null, "é", null] })
  })

  it("is read row group by row group, each a batch", async () => {
    const of = table("Numbers/1", { n: int32, x: float64 })
    const n = Array.from({ length: 300_000 }, (_, i) => i)
    const whole = arrow(of, { n, x: n.map((i) => i / 7) })
    const batches = await Effect.runPromise(
      Effect.flatMap(encode(of, whole), (bytes) => Stream.runCollect(decodeBatches(of, bytes)))
    )
    expect([...batches].map(({ numRows }) => numRows)).toEqual([131_072, 131_072, 37_856])
    expect([...batches].flatMap((batch) => [...(batch.getChild("n") ?? [])])).toEqual(n)
  })

  it("satisfies a port with fewer columns, in any order", async () => {
    const wide = table("Wide/1", { a: int32, b: utf8, c: float64 })
    const narrow = table("Narrow/1", { c: float64, a: int32 })
    const content = arrow(wide, { a: [1, 2], b: ["x", "y"], c: [0.5, 1.5] })
    const back = await Effect.runPromise(
      Effect.flatMap(encode(wide, content), (bytes) => decode(narrow, bytes))
    )
    expect(columns(back)).toEqual({ c: [0.5, 1.5], a: [1, 2] })
    const narrowed = await Effect.runPromise(
      Effect.flatMap(encode(narrow, content), (bytes) => declare(bytes))
    )
    expect(narrowed.id).toBe("Narrow/1")
    expect(Object.keys(narrowed.fields)).toEqual(["c", "a"])
  })
})
