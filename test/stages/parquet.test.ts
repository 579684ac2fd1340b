/** Parquet files at both ends of a pipeline, in the real engine. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeContext } from "@effect/platform-node"
import { Corpus } from "@tessera/attention"
import {
  type Fields,
  float64,
  int64,
  list,
  nullable,
  pipeline,
  type Row,
  source,
  table,
  type Table,
  utf8
} from "@tessera/core"
import { run } from "@tessera/engine"
import { encodeFile, exportParquet, importParquet, ParquetFiles, decode } from "@tessera/parquet"
import { MemoryStore, Store } from "@tessera/store"
import { given } from "@tessera/testing"
import * as Arrow from "apache-arrow"
import { Effect, Layer, Scope } from "effect"
import { afterAll, expect, it } from "vitest"
import { rowsOf } from "./harness.js"

const folder = mkdtempSync(join(tmpdir(), "tessera-parquet-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const Samples = table("Samples/1", { name: utf8, id: int64, scores: list(float64), note: nullable(utf8) })
const samples: ReadonlyArray<Row<typeof Samples>> = [
  { name: "a", id: 9007199254740993n, scores: [0.1, Number.NaN, -0], note: null },
  { name: "", id: -(2n ** 63n), scores: [], note: "é 🦊" }
]

const corpus: ReadonlyArray<Row<typeof Corpus>> = ["one", "two", "three"].map((item) => ({
  item,
  dataset: "multi_news",
  document: `Document ${item}`,
  question: "",
  answer: "Answer"
}))

it.each([
  ["hyparquet", Samples, samples],
  ["parquetjs-lite", Corpus, corpus]
] as const)("a table exported and imported again has its rows (%s)", async (_, type, rows) => {
  const of: Table<Fields> = type
  for (const compression of ["snappy", "zstd"] as const) {
    const { files } = exportParquet(of)({ table: given(of, rows) }, { compression })
    const { table: back } = importParquet(of)({ files }, {})
    expect(await Effect.runPromise(rowsOf(of, back))).toEqual(rows)
  }
})

/** The folder of an exported table. */
const exported = (params: { readonly name?: string }) =>
  Effect.gen(function* () {
    const { files } = exportParquet(Samples)({ table: given(Samples, samples) }, params)
    const { targets } = yield* run(pipeline("export", { files }))
    const artifact = yield* Effect.fromNullable(targets["files"])
    const store = yield* Store
    const { path } = yield* Scope.extend(store.open(ParquetFiles, artifact), yield* Effect.scope)
    const content = yield* decode(Samples, join(path, `${params.name ?? "samples"}.parquet`))
    return content.numRows
  }).pipe(Effect.scoped, Effect.provide(MemoryStore.layer.pipe(Layer.provideMerge(NodeContext.layer))))

it("an exported file has the name of its table, or the one that was asked for", async () => {
  expect(await Effect.runPromise(exported({}))).toBe(2)
  expect(await Effect.runPromise(exported({ name: "results-2026.v1" }))).toBe(2)
  await expect(Effect.runPromise(exported({ name: "../outside" }))).rejects.toThrow(/name/)
})

const Words = table("Words/1", { word: utf8 })
const words = (name: string, ...all: ReadonlyArray<string>) =>
  Effect.runPromise(
    encodeFile(
      Words,
      new Arrow.Table({ word: Arrow.vectorFromArray(all, new Arrow.Utf8()) }),
      join(folder, name)
    )
  )
const imported = (path: string) =>
  rowsOf(Words, importParquet(Words)({ files: source(ParquetFiles, join(folder, path)) }, {}).table)

it("a folder of files is one table, in the order of their names; one file is a table too", async () => {
  mkdirSync(join(folder, "many/deep"), { recursive: true })
  await words("many/b.parquet", "three", "four")
  await words("many/a.parquet", "one", "two")
  await words("many/deep/z.parquet", "five")
  writeFileSync(join(folder, "many/README.md"), "not read")
  const all = await Effect.runPromise(imported("many"))
  expect(all.map(({ word }) => word)).toEqual(["one", "two", "three", "four", "five"])
  expect(await Effect.runPromise(imported("many/b.parquet"))).toEqual([{ word: "three" }, { word: "four" }])
})

it("a file that is none, and a folder without any, stop the run by their names", async () => {
  mkdirSync(join(folder, "bad"))
  mkdirSync(join(folder, "none"))
  writeFileSync(join(folder, "none/README.md"), "nothing here")
  copyFileSync(join(folder, "many/a.parquet"), join(folder, "bad/a.parquet"))
  writeFileSync(join(folder, "bad/b.parquet"), "PAR1")
  const message = async (path: string) => String(await Effect.runPromise(Effect.flip(imported(path))))
  expect(await message("bad")).toMatch(/b\.parquet: ends before its footer/)
  expect(await message("none")).toMatch(/has no \*\.parquet/)
})
