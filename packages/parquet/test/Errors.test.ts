import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  bool,
  type Column,
  type Fields,
  float32,
  float64,
  int32,
  int64,
  list,
  nullable,
  table,
  type Table,
  timestampMicros,
  timestampMillis,
  utf8,
  vec
} from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Effect } from "effect"
import { parquetMetadata } from "hyparquet"
import { parquetWriteBuffer } from "hyparquet-writer"
import { afterAll, describe, expect, it } from "vitest"
import { declare, decode, encode, encodeFile } from "../src/index.js"
import { arrow, columns, type Columns } from "./tables.js"

const folder = mkdtempSync(join(tmpdir(), "tessera-parquet-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const written = (of: Table<Fields>, all: Columns) => Effect.runPromise(encode(of, arrow(of, all)))
const failure = (of: Table<Fields>, bytes: Uint8Array | string) =>
  Effect.runPromise(Effect.flip(decode(of, bytes, typeof bytes === "string" ? {} : { name: "x.parquet" })))

/** A file with one column of this schema. */
const foreign = (data: ReadonlyArray<unknown>, element: object) =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: [{ name: "x", data: [...data] }],
      schema: [
        { name: "root", num_children: 1 },
        { name: "x", repetition_type: "REQUIRED", ...element }
      ]
    })
  )

describe("a value that the port's column cannot hold", () => {
  it.each([
    ["an int64 beyond int32", int64, int32, [5n, 3_000_000_000n], /3000000000 is not an int32/],
    ["an int64 that no float64 is", int64, float64, [9007199254740993n], /9007199254740993 is not exact/],
    ["a float64 that no float32 is", float64, float32, [0.5, 0.1], /0\.1 is not exact as float32/],
    ["an int32 that no float32 is", int32, float32, [16_777_217], /16777217 is not exact/],
    ["a null", nullable(int32), int32, [1, null], /1 nulls where none may be/],
    ["a null in a list", list(nullable(utf8)), list(utf8), [["a", null]], /1 nulls where none may be/],
    ["a list of another length", list(float32), vec(2), [[1, 2], [3]], /a list of 1 where each has 2/],
    [
      "microseconds where milliseconds are wanted",
      timestampMicros,
      timestampMillis,
      [1_001n],
      /1001 is not a whole/
    ],
    [
      "milliseconds beyond microseconds",
      timestampMillis,
      timestampMicros,
      [2n ** 60n],
      /is not a whole number/
    ]
  ])("is an error that names the column and the row group: %s", async (_, from, to, cells, message) => {
    const bytes = await written(table("From/1", { x: from }), { x: cells })
    const error = await failure(table("To/1", { x: to }), bytes)
    expect(error).toMatchObject({
      _tag: "ParquetError",
      reason: "OutOfRange",
      file: "x.parquet",
      column: "x",
      rowGroup: 0
    })
    expect(error.message).toMatch(/^x\.parquet, column x, row group 0: /)
    expect(error.message).toMatch(message)
  })

  it.each([
    ["int64 in int32", int64, int32, [-(2n ** 31n), 7n, null], [-(2 ** 31), 7, null]],
    ["int32 in int64", int32, int64, [-5, null], [-5n, null]],
    ["float64 in float32", float64, float32, [0.5, -0, NaN, Infinity], [0.5, -0, NaN, Infinity]],
    ["float32 in float64", float32, float64, [Math.fround(0.1), -0], [Math.fround(0.1), -0]],
    ["whole numbers in float64", int64, float64, [2n ** 53n, -1n], [2 ** 53, -1]],
    ["microseconds in milliseconds", timestampMicros, timestampMillis, [-5_000n], [-5n]],
    ["a list of one length in a list of any", vec(2), list(float32), [[1, 2]], [[1, 2]]]
  ])("and one that it can hold exactly is taken: %s", async (_, from, to, cells, expected) => {
    const bytes = await written(table("From/1", { x: nullable(from as Column.Any) }), { x: cells })
    const back = await Effect.runPromise(decode(table("To/1", { x: nullable(to as Column.Any) }), bytes))
    expect(columns(back)).toEqual({ x: expected })
  })

  it("unsigned integers are read as what they are, and refused where they do not fit", async () => {
    const uint = foreign([1, 4_000_000_000], { type: "INT32", converted_type: "UINT_32" })
    const wide = await Effect.runPromise(decode(table("To/1", { x: int64 }), uint))
    expect(columns(wide)).toEqual({ x: [1n, 4_000_000_000n] })
    expect(await failure(table("To/1", { x: int32 }), uint)).toMatchObject({ reason: "OutOfRange" })
  })
})

describe("a file of other columns", () => {
  const file = () =>
    written(table("From/1", { a: int32, b: utf8, c: list(int32) }), { a: [1], b: ["x"], c: [[1]] })

  it.each([
    ["a number in a text column", { a: utf8 }, "a", /column a.*: is int32, not Utf8/],
    ["text in a number column", { b: int32 }, "b", /is text, not Int32/],
    ["a list where there is none", { a: list(int32) }, "a", /is int32, not List<Int32>/],
    ["no list where there is one", { c: int32 }, "c", /is list of int32, not Int32/],
    ["lists of lists", { c: list(list(int32)) }, "c", /is list of int32, not List<List<Int32>>/],
    ["a flag", { a: bool }, "a", /is int32, not Bool/],
    ["a time", { a: timestampMillis }, "a", /is int32, not Timestamp<MILLISECOND>/]
  ])("is refused by the column's name: %s", async (_, fields, column, message) => {
    const error = await failure(table("To/1", fields), await file())
    expect(error).toMatchObject({ reason: "SchemaMismatch", column })
    expect(error.message).toMatch(message)
  })

  it("says which columns there are where one is missing", async () => {
    const error = await failure(table("To/1", { z: int32 }), await file())
    expect(error).toMatchObject({ reason: "SchemaMismatch" })
    expect(error.message).toBe("x.parquet: has no column z; it has a, b, c")
  })

  it.each([
    [
      "decimals",
      [1n],
      { type: "INT64", converted_type: "DECIMAL", precision: 10, scale: 2 },
      /DECIMAL\(10, 2\)/
    ],
    ["dates", [1], { type: "INT32", converted_type: "DATE" }, /DATE/],
    ["binary", [Uint8Array.of(255)], { type: "BYTE_ARRAY" }, /BYTE_ARRAY/]
  ])("is refused where no column can hold it: %s", async (_, data, element, message) => {
    const bytes = foreign(data, element)
    expect((await failure(table("To/1", { x: float64 }), bytes)).message).toMatch(message)
    const error = await Effect.runPromise(Effect.flip(declare(bytes, { name: "x.parquet" })))
    expect(error).toMatchObject({ reason: "Unsupported", column: "x" })
    expect((await Effect.runPromise(declare(bytes, { columns: [] }))).fields).toEqual({})
  })
})

describe("a damaged file", () => {
  const Words = table("Words/1", { word: utf8, n: int32 })
  const Numbers = table("Numbers/1", { word: utf8, n: int32, x: float64 })
  const n = Array.from({ length: 500 }, (_, i) => i)
  const all = { word: n.map((i) => `word ${i % 9}`), n, x: n.map((i) => (i === 5 ? NaN : i / 3)) }

  it.each([
    ["parquetjs-lite", Words],
    ["hyparquet", Numbers]
  ])("is told wherever one bit of its data flips (written by %s)", async (_, of) => {
    const bytes = await written(of, all)
    const data = bytes.length - 8 - parquetMetadata(bytes).metadata_length
    for (let i = 0; i < 60; i++) {
      const broken = Uint8Array.from(bytes)
      const at = Math.floor((i * data) / 60)
      broken[at] = (broken[at] ?? 0) ^ (1 << (i % 8))
      const error = await failure(of, broken)
      expect(error).toMatchObject({ reason: at < 4 ? "NotParquet" : "Corrupt", file: "x.parquet" })
    }
  })

  it.each([
    ["parquetjs-lite", Words],
    ["hyparquet", Numbers]
  ])(
    "gives its own values or an error wherever one bit of its footer flips (written by %s)",
    async (_, of) => {
      const bytes = await written(of, all)
      const expected = columns(await Effect.runPromise(decode(of, bytes)))
      const footer = bytes.length - 8 - parquetMetadata(bytes).metadata_length
      let told = 0
      for (let at = footer; at < bytes.length; at += 3) {
        const broken = Uint8Array.from(bytes)
        broken[at] = (broken[at] ?? 0) ^ (1 << (at % 8))
        const result = await Effect.runPromise(Effect.either(decode(of, broken)))
        if (result._tag === "Left") told++
        else expect(columns(result.right), `byte ${at}`).toEqual(expected)
      }
      expect(told).toBeGreaterThan(10)
    }
  )

  it("is told wherever it ends too early", async () => {
    const bytes = await written(Numbers, all)
    for (const end of [0, 3, 4, 11, 12, 100, Math.floor(bytes.length / 2), bytes.length - 1]) {
      const error = await failure(Numbers, bytes.subarray(0, end))
      expect(error).toMatchObject({ reason: end < 4 ? "NotParquet" : "Truncated" })
    }
  })

  it.each([
    ["text", Buffer.from('{"document": "not Parquet at all"}\n')],
    ["an Arrow file", Buffer.from("ARROW1\0\0 and so on ARROW1")],
    ["nothing", Buffer.alloc(0)]
  ])("is no file of another kind: %s", async (_, bytes) => {
    expect(await failure(Words, bytes)).toMatchObject({ reason: "NotParquet" })
  })

  it("keeps its own sums out of files that others made of it", async () => {
    const bytes = await written(Numbers, all)
    const { key_value_metadata } = parquetMetadata(bytes)
    expect(key_value_metadata?.map(({ key }) => key)).toEqual([
      "tessera.table",
      "tessera.writer",
      "tessera.sha256"
    ])
    // As pyarrow does: other data, the same key-value metadata.
    const copy = parquetWriteBuffer({
      columnData: [{ name: "n", data: [7], type: "INT32", nullable: false }],
      kvMetadata: [...(key_value_metadata ?? [])]
    })
    expect(
      columns(await Effect.runPromise(decode(table("N/1", { n: int32 }), new Uint8Array(copy))))
    ).toEqual({ n: [7] })
  })

  it("that is not there, or is a folder, is the system's error by its path", async () => {
    const absent = join(folder, "absent.parquet")
    expect(await failure(Words, absent)).toMatchObject({ reason: "Io", file: absent })
    expect((await failure(Words, absent)).message).toMatch(/ENOENT/)
    mkdirSync(join(folder, "folder"))
    expect(await failure(Words, join(folder, "folder"))).toMatchObject({ reason: "Io" })
  })
})

describe("writing", () => {
  const Words = table("Words/1", { word: utf8 })
  const flipped = (of: Table<Fields>, content: Arrow.Table) =>
    Effect.runPromise(Effect.flip(encode(of, content)))

  it("refuses content that is not the table's", async () => {
    const other = arrow(table("Other/1", { word: int32 }), { word: [1] })
    expect(await flipped(Words, other)).toMatchObject({ reason: "SchemaMismatch", column: "word" })
    expect((await flipped(table("Z/1", { z: utf8 }), other)).message).toBe(
      "Z/1: the content has no column z; it has word"
    )
    const nulls = arrow(table("Nulls/1", { word: nullable(utf8) }), { word: ["a", null] })
    expect(await flipped(Words, nulls)).toMatchObject({ reason: "OutOfRange", column: "word" })
    expect(await flipped(table("None/1", {}), other)).toMatchObject({ reason: "Unsupported" })
  })

  it("refuses text that is not UTF-8", async () => {
    const data = Arrow.makeData({
      type: new Arrow.Utf8(),
      length: 1,
      nullCount: 0,
      valueOffsets: Int32Array.of(0, 2),
      data: Uint8Array.of(0x61, 0xff)
    })
    const content = new Arrow.Table({ word: new Arrow.Vector([data]) })
    expect(await flipped(Words, content)).toMatchObject({ reason: "OutOfRange", column: "word" })
  })

  it("leaves what was there, and nothing else, where it fails", async () => {
    const own = join(folder, "own")
    mkdirSync(own)
    const file = join(own, "words.parquet")
    writeFileSync(file, "before")
    const nulls = arrow(table("Nulls/1", { word: nullable(utf8) }), { word: ["a", null] })
    const error = await Effect.runPromise(Effect.flip(encodeFile(Words, nulls, file)))
    expect(error).toMatchObject({ reason: "OutOfRange", file })
    expect(readFileSync(file, "utf8")).toBe("before")
    expect(readdirSync(own)).toEqual(["words.parquet"])
    const good = arrow(Words, { word: ["a"] })
    await Effect.runPromise(encodeFile(Words, good, file))
    expect(columns(await Effect.runPromise(decode(Words, file)))).toEqual({ word: ["a"] })
    const nowhere = join(own, "absent", "words.parquet")
    expect(await Effect.runPromise(Effect.flip(encodeFile(Words, good, nowhere)))).toMatchObject({
      reason: "Io"
    })
  })
})
