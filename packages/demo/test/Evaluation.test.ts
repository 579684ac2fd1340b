import { NodeContext } from "@effect/platform-node"
import { EvaluationSet } from "@tessera/attention"
import { openModelFolder, openTokenizer } from "@tessera/runtime"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { demoEvaluation, demoModelPath } from "../src/index.js"
import { rowsOf } from "./run.js"

const tokenizerOf = (folder: string) =>
  openTokenizer(folder).pipe(Effect.provide(NodeContext.layer), Effect.runPromise)

const evaluate = (params: object, folder = demoModelPath) =>
  rowsOf(demoEvaluation, EvaluationSet, params, { model: { digest: "", path: folder } })

const params = { split: "test", lengths: [512, 1024, 2048], records: 3, questions: 5, summaries: 3 }

/** A model with another tokenizer: one token per byte, so a line takes about three times as many. */
const otherModel = mkdtemp(join(tmpdir(), "tessera-demo-")).then(async (folder) => {
  const json = JSON.parse(await readFile(join(demoModelPath, "tokenizer.json"), "utf8"))
  const bytes = Object.entries(json.model.vocab).filter(([piece]) => piece.length === 1)
  json.model = { ...json.model, vocab: Object.fromEntries(bytes), merges: [] }
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(json))
  return folder
})
afterAll(async () => rm(await otherModel, { recursive: true }))

describe("demoEvaluation", () => {
  it("is pinned: equal bytes on every machine", async () => {
    const rows = await evaluate({ ...params, lengths: [512], records: 1, summaries: 1 })
    expect(createHash("sha256").update(JSON.stringify(rows)).digest("hex")).toBe(
      "86019070fd20e27a828885274a7c800289a2652cdc8b475f7d8f537bdda99834"
    )
  })

  it.each(["the demo model", "a model with another tokenizer"])(
    "keeps to its length classes and fills them, under %s",
    async (model) => {
      const folder = model === "the demo model" ? demoModelPath : await otherModel
      const tokenizer = await tokenizerOf(folder)
      const rows = await evaluate({ ...params, lengths: [1024, 2048] }, folder)
      expect(rows.length).toBe(2 * (3 * 5 + 3))
      for (const row of rows) {
        const tokens = tokenizer.encode(row.context + row.question + row.answer).length + 1
        expect(tokens).toBeLessThanOrEqual(row.length)
        // A line is the least that a record can grow by.
        if (folder === demoModelPath) expect(tokens).toBeGreaterThanOrEqual(0.95 * row.length)
        else expect(tokens).toBeGreaterThan(0.85 * row.length)
      }
    }
  )

  it("splits where the tokenizer splits: the parts' tokens are the whole's", async () => {
    const tokenizer = await tokenizerOf(demoModelPath)
    for (const row of await evaluate(params)) {
      const parts = [
        ...tokenizer.encode(row.context),
        ...tokenizer.encode(row.question, { special: false }),
        ...tokenizer.encode(row.answer, { special: false })
      ]
      expect(parts).toEqual(tokenizer.encode(row.context + row.question + row.answer))
    }
  })

  it("asks several questions of each record at stratified depths, and answers them truly", async () => {
    const rows = (await evaluate(params)).filter((row) => row.task === "longeval")
    const records = [...new Set(rows.map((row) => row.record))]
    expect(records.length).toBe(9)
    for (const record of records) {
      const asked = rows.filter((row) => row.record === record)
      expect(new Set(asked.map((row) => row.context)).size).toBe(1)
      expect(asked.map((row) => Math.floor(row.depth * 5))).toEqual([0, 1, 2, 3, 4])
      for (const row of asked) {
        const [, name, content] = /in line (\S+) is (<\d{5}>)/.exec(row.answer) ?? []
        const line = `line ${name}: REGISTER_CONTENT is ${content}\n`
        expect(row.question).toContain(`in line ${name}?`)
        expect(row.context.indexOf(line) / row.context.length).toBeCloseTo(row.depth, 1)
      }
    }
  })

  it("gives summaries a prompt that ends where the answer begins", async () => {
    const rows = (await evaluate(params)).filter((row) => row.task === "summary")
    expect(rows.length).toBe(9)
    for (const row of rows) {
      expect(row.context).toMatch(/^News from [^]*\n\nSummary:$/)
      expect(row.context).not.toContain(" ||||| ")
      expect(row.question).toBe("")
      expect(row.answer).toMatch(/^ [A-Z].*\.$/)
    }
    expect(rows.some((row) => row.context.includes("\n|||||\nNews from"))).toBe(true)
  })

  it("shares no record between seeds or between splits", async () => {
    const contexts = new Set<string>()
    for (const split of ["validation", "test"])
      for (const seed of [0, 1])
        for (const row of await evaluate({ ...params, lengths: [512], split, seed }))
          contexts.add(row.context)
    expect(contexts.size).toBe(4 * 6)
  })

  it("says so when a length cannot hold what was asked for", async () => {
    const wanted = { ...params, lengths: [384] }
    await expect(evaluate({ ...wanted, questions: 200, summaries: 0 })).rejects.toThrow(
      /384 tokens of this model do not hold a record with 200 questions/
    )
    await expect(evaluate({ ...wanted, records: 0 }, await otherModel)).rejects.toThrow(
      /do not hold an event's facts and its summary/
    )
  })
})

describe("demoModelPath", () => {
  it("is a whole model folder with its card", async () => {
    const model = await openModelFolder(demoModelPath).pipe(
      Effect.provide(NodeContext.layer),
      Effect.runPromise
    )
    expect(model.config).toMatchObject({
      layers: 8,
      queryHeads: 8,
      kvHeads: 4,
      headDim: 64,
      maxPositions: 8192
    })
    expect(model.config.endOfText).toEqual([1])
    const weights = await readFile(join(demoModelPath, "model.safetensors"))
    expect(createHash("sha256").update(weights).digest("hex")).toMatch(/^a07d1ac12f9f71.*185526$/)
    const card = await readFile(join(demoModelPath, "README.md"), "utf8")
    expect(card).toContain("WordNet 3.0 Copyright 2006 by Princeton University.")
    expect(card).toContain("PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2")
  })
})
