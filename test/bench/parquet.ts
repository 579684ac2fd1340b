/**
 * Writes and reads 5 million rows (int32 ×3, float32) and an influence tensor through @tessera/parquet, each in a
 * process of its own, and prints seconds, bytes and peak memory (of the whole process):
 *
 *   npx tsx test/bench/parquet.ts [ROWS]
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { arrowSchema, type Fields, float32, int32, list, table, type Table, utf8 } from "@tessera/core"
import { type Compression, decode, decodeBatches, encodeFile } from "@tessera/parquet"
import * as Arrow from "apache-arrow"
import { Effect, Stream } from "effect"

const Numbers = table("Numbers/1", { layer: int32, head: int32, block: int32, value: float32 })
const Tensor = table("Tensor/1", { layer: int32, head: int32, blocks: list(float32) })
const Text = table("Text/1", { document: utf8, summary: utf8 })

const content = (of: Table<Fields>, columns: ReadonlyArray<Arrow.Data>): Arrow.Table => {
  const schema = arrowSchema(of)
  const type = new Arrow.Struct(schema.fields)
  const length = columns[0]?.length ?? 0
  return new Arrow.Table(schema, [
    new Arrow.RecordBatch(schema, Arrow.makeData({ type, length, nullCount: 0, children: [...columns] }))
  ])
}
const ints = (length: number, at: (i: number) => number) =>
  Arrow.makeData({
    type: new Arrow.Int32(),
    length,
    nullCount: 0,
    data: Int32Array.from({ length }, (_, i) => at(i))
  })
const floats = (length: number) =>
  Arrow.makeData({
    type: new Arrow.Float32(),
    length,
    nullCount: 0,
    data: Float32Array.from({ length }, (_, i) => Math.sin(i) * 1e-3)
  })

const numbers = (rows: number) =>
  content(Numbers, [
    ints(rows, (i) => Math.floor(i / 160_000)),
    ints(rows, (i) => Math.floor(i / 5_000) % 32),
    ints(rows, (i) => i % 5_000),
    floats(rows)
  ])

/** One row per head, its blocks as a list: as many numbers as rows were asked for. */
const tensor = (rows: number) => {
  const heads = 1_000
  const size = Math.floor(rows / heads)
  const [item] = new Arrow.Schema(arrowSchema(Tensor).fields).fields[2]?.type.children ?? []
  const blocks = Arrow.makeData({
    type: new Arrow.List(item as Arrow.Field<Arrow.Float32>),
    length: heads,
    nullCount: 0,
    valueOffsets: Int32Array.from({ length: heads + 1 }, (_, i) => i * size),
    child: floats(heads * size)
  })
  return content(Tensor, [ints(heads, (i) => Math.floor(i / 32)), ints(heads, (i) => i % 32), blocks])
}

/** A thousandth as many documents of 8 KB, with summaries of 1 KB. */
const texts = (rows: number) => {
  const length = Math.floor(rows / 1_000)
  const words = (size: number) =>
    Arrow.vectorFromArray(
      Array.from({ length }, (_, i) =>
        Array.from({ length: size / 8 }, (_, j) =>
          ((i * 7919 + j * 104_729) % 999_983).toString().padEnd(7)
        ).join(" ")
      ),
      new Arrow.Utf8()
    ).data[0] as Arrow.Data
  return content(Text, [words(8_192), words(1_024)])
}

const cases = {
  numbers: [Numbers, numbers],
  tensor: [Tensor, tensor],
  text: [Text, texts]
} as const

/** Runs in a process of its own: one step of one case. */
const step = async (name: keyof typeof cases, action: string, file: string, rows: number) => {
  const [of, make] = cases[name]
  const given = action === "write" ? make(rows) : undefined
  const compression = (/\.(\w+)\.parquet$/.exec(file)?.[1] ?? "snappy") as Compression
  const before = process.memoryUsage().rss
  const start = performance.now()
  const cpu = process.cpuUsage()
  const done =
    given !== undefined
      ? Effect.as(encodeFile(of, given, file, { compression }), given.numRows)
      : action === "read"
        ? Effect.map(decode(of, file), ({ numRows }) => numRows)
        : Stream.runFold(decodeBatches(of, file), 0, (sum, { numRows }) => sum + numRows)
  const count = await Effect.runPromise(done)
  const seconds = (performance.now() - start) / 1e3
  const { user, system } = process.cpuUsage(cpu)
  const peak = process.resourceUsage().maxRSS * 1024
  console.log(JSON.stringify({ seconds, cpu: (user + system) / 1e6, count, before, peak }))
}

const main = (rows: number) => {
  const folder = mkdtempSync(join(tmpdir(), "tessera-bench-"))
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`
  const results: Array<Record<string, string | number>> = []
  try {
    for (const [name, compression] of [
      ["numbers", "snappy"],
      ["numbers", "zstd"],
      ["tensor", "snappy"],
      ["text", "snappy"],
      ["text", "zstd"]
    ] as const) {
      const file = join(folder, `${name}.${compression}.parquet`)
      for (const action of ["write", "read", "stream"]) {
        const output = execFileSync(
          process.execPath,
          ["--import", "tsx", fileURLToPath(import.meta.url), "--step", name, action, file, String(rows)],
          { encoding: "utf8" }
        )
        const { seconds, cpu, count, before, peak } = JSON.parse(output) as Record<string, number>
        results.push({
          table: name,
          compression,
          action,
          rows: count ?? 0,
          seconds: (seconds ?? 0).toFixed(2),
          // Less than the seconds where others use the machine.
          cpu: (cpu ?? 0).toFixed(2),
          file: mib(statSync(file).size),
          "memory before": mib(before ?? 0),
          "peak memory": mib(peak ?? 0)
        })
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  console.table(results)
}

const [flag, name = "", action = "", file = "", size = ""] = process.argv.slice(2)
if (flag === "--step") await step(name as keyof typeof cases, action, file, Number(size))
else main(Number(flag ?? 5_000_000))
