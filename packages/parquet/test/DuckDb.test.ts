/** Files of this codec open in DuckDB with equal values, and DuckDB's open here. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type DuckDBConnection, DuckDBInstance, DuckDBListValue } from "@duckdb/node-api"
import { type Fields, float64, int32, int64, list, nullable, table, type Table, utf8 } from "@tessera/core"
import { Effect } from "effect"
import { parquetMetadata } from "hyparquet"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { typeName } from "../src/ArrowTypes.js"
import { declare, decode, encodeFile } from "../src/index.js"
import { content, Everything } from "./interop.js"
import { arrow, type Cell, columns, type Columns } from "./tables.js"

const folder = mkdtempSync(join(tmpdir(), "tessera-duckdb-"))
let duckdb: DuckDBConnection
beforeAll(async () => {
  duckdb = await (await DuckDBInstance.create(":memory:", { threads: "1" })).connect()
})
afterAll(() => {
  duckdb.closeSync()
  rmSync(folder, { recursive: true, force: true })
})

const cell = (value: unknown): Cell =>
  value instanceof DuckDBListValue ? value.items.map(cell) : (value as Cell)

const isTime = (name: string) => /millis|micros|^times$/.test(name)

/** DuckDB's client for Node drops a byte order mark at the start of a text; DuckDB itself keeps it. */
const unmarked = (cell: Cell): Cell =>
  typeof cell === "string" ? cell.replace(/^\uFEFF/, "") : Array.isArray(cell) ? cell.map(unmarked) : cell

/** The columns as DuckDB sees them; timestamps as the integers they were written as. */
const read = async (file: string, names: ReadonlyArray<string>): Promise<Columns> => {
  const select = names.map((name) => {
    if (!isTime(name)) return `"${name}"`
    const epoch = name === "times" || name === "millis" ? "epoch_ms" : "epoch_us"
    return name === "times"
      ? `list_transform(times, lambda x: ${epoch}(x)) as times`
      : `${epoch}("${name}") as "${name}"`
  })
  const found = await duckdb.runAndReadAll(`select ${select.join(", ")} from read_parquet('${file}')`)
  return Object.fromEntries(
    Object.entries(found.getColumnsObject()).map(([name, values]) => [
      name,
      (values as Array<unknown>).map(cell)
    ])
  )
}

const write = (
  of: Table<Fields>,
  all: Columns,
  name: string,
  compression: "snappy" | "zstd" | "gzip" | "none"
) => {
  const file = join(folder, `${name}.parquet`)
  return Effect.runPromise(Effect.as(encodeFile(of, arrow(of, all), file, { compression }), file))
}

describe("DuckDB", () => {
  it.each(["snappy", "zstd", "gzip", "none"] as const)(
    "reads what this codec wrote with equal values (%s)",
    async (compression) => {
      const file = await write(Everything, content, `ours-${compression}`, compression)
      const expected = Object.entries(content).map(([name, cells]) => [name, cells.map(unmarked)])
      expect(await read(file, Object.keys(content))).toEqual(Object.fromEntries(expected))
    }
  )

  it("reads what parquetjs-lite wrote with equal values, and finds by value in it", async () => {
    const Words = table("Words/1", { word: utf8, n: int32, x: nullable(float64) })
    const rows = 9_000
    const all = {
      // In the order of UTF-8 the second is larger, in that of UTF-16 the first.
      word: Array.from({ length: rows }, (_, i) => (i % 2 === 0 ? "\uFF5E" : "🦊")),
      n: Array.from({ length: rows }, (_, i) => i - 5),
      x: Array.from({ length: rows }, (_, i) => (i % 3 === 0 ? null : i / 3))
    }
    const file = await write(Words, all, "lite", "snappy")
    expect(parquetMetadata(readFileSync(file)).created_by).toBe("parquet.js")
    expect(await read(file, ["word", "n", "x"])).toEqual(all)
    const found = await duckdb.runAndReadAll(
      `select count(*)::int as n from read_parquet('${file}') where word = '🦊'`
    )
    expect(found.getRows()).toEqual([[rows / 2]])
  })

  const codecs = ["snappy", "zstd", "gzip", "uncompressed", "brotli", "lz4_raw"]
  it.each(codecs.flatMap((codec) => ["V1", "V2"].map((version) => [codec, version] as const)))(
    "writes what this codec reads (%s, %s)",
    async (codec, version) => {
      const ours = await write(Everything, content, `from-${codec}-${version}`, "snappy")
      const file = join(folder, `theirs-${codec}-${version}.parquet`)
      await duckdb.run(
        `copy (select * from read_parquet('${ours}')) to '${file}' (format parquet, codec ${codec}, parquet_version ${version})`
      )
      // DuckDB has timestamps of microseconds in files; the port's milliseconds come back.
      expect(columns(await Effect.runPromise(decode(Everything, file)))).toEqual(content)
    }
  )

  it("writes dictionaries of numbers and text, which keep their types and values", async () => {
    const file = join(folder, "dictionaries.parquet")
    await duckdb.run(
      `copy (select (i % 3)::int as n, (9007199254740993 + i % 3)::bigint as id, (i % 4) / 2.0::double as x,
         case when i % 5 = 0 then null else 'word ' || i % 7 end as word, [i % 2, null] as ns
       from range(20000) t(i)) to '${file}' (format parquet)`
    )
    const encodings = parquetMetadata(readFileSync(file)).row_groups.flatMap((group) =>
      group.columns.map(({ meta_data }) => meta_data?.encodings.join())
    )
    expect(encodings.every((names) => names?.includes("_DICTIONARY") === true)).toBe(true)
    const Port = table("Port/1", {
      n: int32,
      id: int64,
      x: float64,
      word: nullable(utf8),
      ns: list(nullable(int32))
    })
    const i = Array.from({ length: 20_000 }, (_, i) => i)
    const expected = {
      n: i.map((i) => i % 3),
      id: i.map((i) => 9007199254740993n + BigInt(i % 3)),
      x: i.map((i) => (i % 4) / 2),
      word: i.map((i) => (i % 5 === 0 ? null : `word ${i % 7}`)),
      ns: i.map((i) => [i % 2, null])
    }
    expect(columns(await Effect.runPromise(decode(Port, file)))).toEqual(expected)
    const declared = await Effect.runPromise(declare(file))
    // range() counts in 64 bits.
    expect(
      Object.entries(declared.fields).map(([name, column]) => `${name} ${typeName(column.arrow)}`)
    ).toEqual(["n Int32", "id Int64", "x Float64", "word Utf8", "ns List<Int64>"])
  })
})
