/** Files of this codec open in pyarrow with equal values, and pyarrow's open here. */
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { float64, int32, nullable, table, utf8 } from "@tessera/core"
import { Effect } from "effect"
import { parquetMetadata } from "hyparquet"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { findPython, interpreter } from "../../../test/python/Environment.js"
import { declare, decode, encodeFile } from "../src/index.js"
import { content, Everything } from "./interop.js"
import { arrow, type Cell, columns, type Columns } from "./tables.js"

const found = await findPython({
  lock: new URL("python/requirements.lock", import.meta.url),
  modules: ["pyarrow.parquet"],
  variable: "TESSERA_PYARROW_PYTHON"
})
if ("skip" in found) console.warn(`SKIPPED, files are not opened in pyarrow: ${found.skip}`)

const script = fileURLToPath(new URL("python/cells.py", import.meta.url))

/** As cells.py writes them. */
const told = (cell: Cell): unknown => {
  if (typeof cell === "bigint") return { int: String(cell) }
  if (typeof cell !== "number") return Array.isArray(cell) ? cell.map(told) : cell
  if (Number.isNaN(cell)) return { float: "nan" }
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(cell)
  return { float: bytes.toString("hex") }
}
const isInteger = (name: string) => /int32|^ints$|nested|^n$/.test(name)
const asInteger = (cell: Cell): unknown =>
  typeof cell === "number" ? { int: String(cell) } : Array.isArray(cell) ? cell.map(asInteger) : cell
const toldColumns = (all: Columns) =>
  Object.fromEntries(
    Object.entries(all).map(([name, cells]) => [name, cells.map(isInteger(name) ? asInteger : told)])
  )

/** Making the environment downloads about 50 MB, once per machine and lock file. */
const patience = 10 * 60_000

describe.skipIf("skip" in found)("pyarrow", () => {
  const folder = mkdtempSync(join(tmpdir(), "tessera-pyarrow-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  let python = ""
  beforeAll(async () => {
    if (!("skip" in found)) python = await interpreter(found)
  }, patience)

  const run = async (...args: ReadonlyArray<string>) =>
    (await promisify(execFile)(python, [script, ...args], { maxBuffer: 1 << 26 })).stdout

  const read = async (...files: ReadonlyArray<string>) => {
    const out = join(folder, "read.json")
    await run("read", out, ...files)
    return JSON.parse(readFileSync(out, "utf8")) as ReadonlyArray<unknown>
  }

  it(
    "reads what this codec wrote, in every compression, with equal values",
    { timeout: patience },
    async () => {
      const files = await Promise.all(
        (["snappy", "zstd", "gzip", "none"] as const).map(async (compression) => {
          const file = join(folder, `ours-${compression}.parquet`)
          await Effect.runPromise(
            encodeFile(Everything, arrow(Everything, content, 50), file, { compression })
          )
          return file
        })
      )
      for (const columns of await read(...files)) expect(columns).toEqual(toldColumns(content))
    }
  )

  it("reads what parquetjs-lite wrote, with equal values", { timeout: patience }, async () => {
    const Words = table("Words/1", { word: utf8, n: int32, x: nullable(float64) })
    const rows = 9_000
    const all = {
      word: Array.from({ length: rows }, (_, i) => (i === 5 ? "🦊".repeat(400_000) : `${i % 10}`)),
      n: Array.from({ length: rows }, (_, i) => i - 5),
      x: Array.from({ length: rows }, (_, i) => (i % 3 === 0 ? null : i / 3))
    }
    const files = await Promise.all(
      (["snappy", "gzip", "none"] as const).map(async (compression) => {
        const file = join(folder, `lite-${compression}.parquet`)
        await Effect.runPromise(encodeFile(Words, arrow(Words, all), file, { compression }))
        expect(parquetMetadata(readFileSync(file)).created_by).toBe("parquet.js")
        return file
      })
    )
    for (const columns of await read(...files)) expect(columns).toEqual(toldColumns(all))
  })

  it(
    "writes what this codec reads: every compression, page version and encoding",
    { timeout: patience },
    async () => {
      const ours = join(folder, "ours.parquet")
      await Effect.runPromise(encodeFile(Everything, arrow(Everything, content), ours))
      const variants = (await run("write", ours, folder)).trim().split("\n")
      expect(variants.length).toBeGreaterThan(20)
      const seen = new Set<string>()
      for (const variant of variants) {
        const file = join(folder, `${variant}.parquet`)
        const back = await Effect.runPromise(decode(Everything, file))
        expect(columns(back), variant).toEqual(content)
        // What nobody declared is read as it is; pyarrow has lists of any length only.
        const declared = await Effect.runPromise(
          Effect.flatMap(declare(file), (found) => decode(found, file))
        )
        expect(columns(declared), variant).toEqual(content)
        for (const group of parquetMetadata(readFileSync(file)).row_groups) {
          for (const { meta_data } of group.columns) {
            seen.add(String(meta_data?.codec))
            for (const encoding of meta_data?.encodings ?? []) seen.add(encoding)
          }
        }
      }
      expect([...seen].sort()).toEqual(
        expect.arrayContaining([
          "UNCOMPRESSED",
          "SNAPPY",
          "GZIP",
          "ZSTD",
          "BROTLI",
          "LZ4_RAW",
          "PLAIN",
          "PLAIN_DICTIONARY",
          "RLE_DICTIONARY",
          "DELTA_BINARY_PACKED",
          "DELTA_LENGTH_BYTE_ARRAY",
          "DELTA_BYTE_ARRAY",
          "BYTE_STREAM_SPLIT"
        ])
      )
    }
  )

  it(
    "writes page checksums, and a flipped byte under one is told with its place",
    { timeout: patience },
    async () => {
      const ours = join(folder, "checked.parquet")
      await Effect.runPromise(encodeFile(Everything, arrow(Everything, content), ours))
      await run("write", ours, folder)
      const bytes = readFileSync(join(folder, "checksums.parquet"))
      const chunk = parquetMetadata(bytes).row_groups[0]?.columns.find(
        ({ meta_data }) => meta_data?.path_in_schema[0] === "float64"
      )?.meta_data
      const at =
        Number(chunk?.dictionary_page_offset ?? chunk?.data_page_offset) +
        Number(chunk?.total_compressed_size) -
        5
      bytes[at] = (bytes[at] ?? 0) ^ 1
      const broken = join(folder, "broken.parquet")
      writeFileSync(broken, bytes)
      const error = await Effect.runPromise(Effect.flip(decode(Everything, broken)))
      expect(error).toMatchObject({ reason: "Corrupt", file: broken, column: "float64", rowGroup: 0 })
      expect(error.message).toMatch(/column float64, row group 0: has a page whose checksum differs/)
    }
  )
})

describe("the lock file of pyarrow's environment", () => {
  it("pins every package by hash and names no registry", () => {
    const lock = readFileSync(new URL("python/requirements.lock", import.meta.url), "utf8")
    const packages = lock.split("\n").filter((line) => /^[a-z]/.test(line))
    expect(packages).toHaveLength(1)
    expect(packages.every((line) => line.includes("==") && line.endsWith("\\"))).toBe(true)
    expect(lock).not.toMatch(/https?:|--(extra-)?index-url|--find-links/)
  })
})
