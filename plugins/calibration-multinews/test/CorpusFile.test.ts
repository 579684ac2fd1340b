import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Either } from "effect"
import { parquetWriteBuffer } from "hyparquet-writer"
import { afterAll, describe, expect, it } from "vitest"
import { readCorpusFile } from "../src/CorpusFile.js"

const folder = mkdtempSync(join(tmpdir(), "corpus-"))
afterAll(() => rmSync(folder, { recursive: true }))

const read = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(folder, name), content)
  return Effect.runPromise(
    Effect.either(readCorpusFile(join(folder, name), name)).pipe(Effect.provide(NodeFileSystem.layer))
  )
}
const parquet = (columns: Record<string, ReadonlyArray<string>>) =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: Object.entries(columns).map(([name, data]) => ({ name, data: [...data] }))
    })
  )

const parquetNumbers = () =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: "document", data: ["d"] },
        { name: "summary", data: Float64Array.of(1.5) }
      ]
    })
  )

const rows = [
  { id: "a", document: "one ||||| two", summary: "– both" },
  { id: "b", document: "three", summary: "it" }
]

describe("a corpus file", () => {
  it("of JSON lines and of Parquet gives the same rows", async () => {
    const lines = await read("x.jsonl", rows.map((row) => JSON.stringify(row)).join("\n") + "\n\n")
    const table = await read(
      "x.parquet",
      parquet({ id: ["a", "b"], document: ["one ||||| two", "three"], summary: ["– both", "it"] })
    )
    expect(lines).toEqual(Either.right(rows))
    expect(table).toEqual(Either.right(rows))
  })

  it.each([
    ["y.jsonl", JSON.stringify({ document: "d", text: "s" })],
    ["y.parquet", parquet({ document: ["d"], text: ["s"] })]
  ])("%s without a column is refused by the column's name, saying what there is", async (name, content) => {
    const result = await read(name, content)
    expect(Either.isLeft(result) && result.left).toMatchObject({ reason: "MissingColumn" })
    expect(Either.isLeft(result) && result.left.message).toMatch(/no column summary; it has document, text/)
  })

  it.each([
    ["broken.jsonl", `${JSON.stringify(rows[0])}\n{"document": `, /^broken\.jsonl:2: is not valid JSON/],
    [
      "number.jsonl",
      JSON.stringify({ document: 1, summary: "s" }),
      /^number\.jsonl:1: document and summary must be text/
    ],
    ["numbers.parquet", parquetNumbers(), /^numbers\.parquet, column summary: is float64, not Utf8; cast it/],
    ["list.jsonl", "[1]", /^list\.jsonl:1: is not an object/],
    ["broken.parquet", "PAR1 and no more", /^broken\.parquet: is not a valid Parquet file/]
  ])("%s is refused with its place", async (name, content, message) => {
    const result = await read(name, content)
    expect(Either.isLeft(result) && result.left.message).toMatch(message)
  })
})
