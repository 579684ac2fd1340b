/**
 * What the libraries under this codec do to values without saying so, shown on the libraries themselves, and that it
 * reaches nobody through the codec.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DuckDBInstance } from "@duckdb/node-api"
import { type Fields, float64, int32, int64, list, nullable, table, type Table, utf8 } from "@tessera/core"
import { Effect } from "effect"
import { parquetMetadata, parquetReadObjects } from "hyparquet"
import { parquetWriteBuffer } from "hyparquet-writer"
import lite from "parquetjs-lite"
import { afterAll, describe, expect, it } from "vitest"
import { decode, encode, writerFor } from "../src/index.js"
import { arrow, columns, type Columns } from "./tables.js"

const folder = mkdtempSync(join(tmpdir(), "tessera-guards-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Rows = ReadonlyArray<Readonly<Record<string, unknown>>>

/** What parquetjs-lite itself writes. */
const liteWrite = async (type: string, rows: Rows): Promise<Buffer> => {
  const parts: Array<Uint8Array> = []
  const output = {
    write: (bytes: Uint8Array, done: () => void) => {
      parts.push(bytes)
      done()
    },
    end: (done: () => void) => done()
  }
  const schema = new lite.ParquetSchema({
    x: { type: type as "UTF8", optional: false, compression: "SNAPPY", statistics: false }
  })
  const writer = await lite.ParquetWriter.openStream(schema, output, {
    rowGroupSize: 4096,
    useDataPageV2: false,
    pageIndex: false
  })
  for (const row of rows) await writer.appendRow(row)
  await writer.close()
  return Buffer.concat(parts)
}

/** What parquetjs-lite itself reads; it throws texts. */
const liteRead = async (bytes: Buffer): Promise<Rows | string> => {
  try {
    const reader = await lite.ParquetReader.openBuffer(bytes, { rawStatistics: true })
    return (await reader.getCursor([]).nextRowGroup()) ?? []
  } catch (error) {
    return String(error)
  }
}

const copy = async (select: string, options: string): Promise<Buffer> => {
  const file = join(folder, "from-duckdb.parquet")
  const connection = await (await DuckDBInstance.create(":memory:", { threads: "1" })).connect()
  await connection.run(`copy (${select}) to '${file}' (format parquet, ${options})`)
  connection.closeSync()
  return readFileSync(file)
}

const through = async (of: Table<Fields>, all: Columns) => {
  const bytes = await Effect.runPromise(encode(of, arrow(of, all)))
  return columns(await Effect.runPromise(decode(of, bytes)))
}

const library = (of: Table<Fields>, all: Columns) => writerFor(of, arrow(of, all), "snappy")

describe("parquetjs-lite", () => {
  it("returns dictionary columns as text; here they keep their type", async () => {
    const bytes = await copy(
      "select (i % 3)::int as n, (i % 3) / 2.0::double as x from range(5000) t(i)",
      "codec snappy"
    )
    const theirs = await liteRead(bytes)
    expect(theirs[1]).toEqual({ n: "1", x: "0.5" })
    const Port = table("Port/1", { n: int32, x: float64 })
    const ours = columns(await Effect.runPromise(decode(Port, bytes)))
    expect([ours["n"]?.[1], ours["x"]?.[1]]).toEqual([1, 0.5])
  })

  it("rounds int64 beyond 2^53; here it never gets one to write", async () => {
    const written = await liteRead(await liteWrite("INT64", [{ x: 9007199254740993n }]))
    expect(written[0]).toEqual({ x: 9007199254740992n })
    const of = table("Ids/1", { x: int64 })
    expect(library(of, { x: [9007199254740993n] })).toMatchObject({ library: "hyparquet", why: /Int64/ })
    expect(await through(of, { x: [9007199254740993n] })).toEqual({ x: [9007199254740993n] })
  })

  it("refuses NaN; here NaN goes the other way", async () => {
    await expect(liteWrite("DOUBLE", [{ x: NaN }])).rejects.toMatch(/invalid value for DOUBLE/)
    const of = table("Numbers/1", { x: float64 })
    expect(library(of, { x: [NaN] })).toMatchObject({ library: "hyparquet", why: /NaN/ })
    expect(await through(of, { x: [1, NaN, Infinity] })).toEqual({ x: [1, NaN, Infinity] })
  })

  it("loses the sign of -0; here -0 goes the other way", async () => {
    expect(await liteRead(await liteWrite("DOUBLE", [{ x: -0 }]))).toEqual([{ x: 0 }])
    const of = table("Numbers/1", { x: nullable(float64) })
    expect(library(of, { x: [-0] })).toMatchObject({ library: "hyparquet", why: /-0/ })
    expect(await through(of, { x: [1, -0, null, 0] })).toEqual({ x: [1, -0, null, 0] })
  })

  it("reads large row groups in quadratic time; here it gets and makes none", async () => {
    const of = table("Words/1", { word: utf8 })
    const words = (rows: number) => ({ word: Array.from({ length: rows }, (_, i) => `word ${i}`) })
    expect(library(of, words(32_768)).library).toBe("parquetjs-lite")
    expect(library(of, words(32_769))).toMatchObject({ library: "hyparquet", why: /rows/ })
    const bytes = await Effect.runPromise(encode(of, arrow(of, words(10_000))))
    const groups = parquetMetadata(bytes).row_groups.map(({ num_rows }) => Number(num_rows))
    expect(groups).toEqual([4096, 4096, 1808])
    expect(await through(of, words(100_000))).toEqual(words(100_000))
  })

  it.each([
    ["zstd", "codec zstd", /invalid compression method|undefined|Invalid ENUM/],
    ["format version 2", "codec snappy, parquet_version V2", /./]
  ])("cannot read %s; here it is read", async (_, options, failure) => {
    const bytes = await copy("select i::int as n, 'word ' || (i % 7) as w from range(5000) t(i)", options)
    const theirs = await liteRead(bytes)
    expect(typeof theirs === "string" ? theirs : JSON.stringify(theirs[3])).toMatch(failure)
    expect(theirs[3]).not.toEqual({ n: 3, w: "word 3" })
    const Port = table("Port/1", { n: int32, w: utf8 })
    const ours = columns(await Effect.runPromise(decode(Port, bytes)))
    expect([ours["n"]?.[3], ours["w"]?.[3]]).toEqual([3, "word 3"])
  })

  it("cannot read RLE_DICTIONARY; here it is read", async () => {
    const n = Array.from({ length: 5000 }, (_, i) => i % 3)
    const bytes = Buffer.from(
      parquetWriteBuffer({ columnData: [{ name: "n", data: n, type: "INT32", encoding: "RLE_DICTIONARY" }] })
    )
    expect(await liteRead(bytes)).toMatch(/invalid/)
    expect(columns(await Effect.runPromise(decode(table("Port/1", { n: int32 }), bytes)))).toEqual({ n })
  })

  it("keeps columns in plain objects; names that such objects have go the other way", async () => {
    const of = table("Odd/1", { constructor: int32, "a,b": int32, "1": int32 })
    const all = { constructor: [1], "a,b": [2], "1": [3] }
    expect(library(of, all).library).toBe("hyparquet")
    expect(await through(of, all)).toEqual(all)
  })

  it("reads no file of another program, even one that says to be of parquetjs-lite", async () => {
    const bytes = await liteWrite("INT64", [{ x: 5n }])
    expect(parquetMetadata(bytes).created_by).toBe("parquet.js")
    expect(columns(await Effect.runPromise(decode(table("Ids/1", { x: int64 }), bytes)))).toEqual({ x: [5n] })
  })
})

describe("hyparquet", () => {
  it("makes one value of 0 and -0 in dictionaries; here floats have none", async () => {
    const x = Array.from({ length: 2000 }, (_, i) => (i % 2 === 0 ? 0 : -0))
    const file = parquetWriteBuffer({ columnData: [{ name: "x", data: x, type: "DOUBLE", nullable: false }] })
    expect((await parquetReadObjects({ file }))[1]).toEqual({ x: 0 })
    expect(await through(table("Numbers/1", { x: float64 }), { x })).toEqual({ x })
    const lists = x.map((value) => [value, -value])
    expect(await through(table("Lists/1", { x: list(float64) }), { x: lists })).toEqual({ x: lists })
  })

  it("drops a byte order mark and repairs what is not UTF-8; here the first is kept and the second refused", async () => {
    const marked = "\uFEFFmarked"
    const text = (bytes: Uint8Array) =>
      parquetWriteBuffer({
        columnData: [{ name: "word", data: [bytes] }],
        schema: [
          { name: "root", num_children: 1 },
          { name: "word", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" }
        ]
      })
    const Words = table("Words/1", { word: utf8 })
    expect(await parquetReadObjects({ file: text(Buffer.from(marked)) })).toEqual([{ word: "marked" }])
    const kept = await Effect.runPromise(decode(Words, new Uint8Array(text(Buffer.from(marked)))))
    expect(columns(kept)).toEqual({ word: [marked] })

    const broken = text(Uint8Array.of(0x61, 0xff))
    expect(await parquetReadObjects({ file: broken })).toEqual([{ word: "a\uFFFD" }])
    const error = await Effect.runPromise(Effect.flip(decode(Words, new Uint8Array(broken))))
    expect(error).toMatchObject({ reason: "OutOfRange", column: "word" })
  })
})
