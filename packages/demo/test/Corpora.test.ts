import { NodeContext } from "@effect/platform-node"
import { Corpus } from "@tessera/attention"
import { openTokenizer } from "@tessera/runtime"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { describe, expect, it } from "vitest"
import { demoLines, demoModelPath, demoNews, demoPrompts, renderAnswer, renderPrompt } from "../src/index.js"
import { rowsOf } from "./run.js"

const digest = (rows: unknown) => createHash("sha256").update(JSON.stringify(rows)).digest("hex")
const stages = [demoNews, demoLines] as const
const params = { lengths: [512, 1024], items: 3 }

describe("demoNews and demoLines", () => {
  it("are pinned: equal bytes on every machine", async () => {
    expect(digest(await rowsOf(demoNews, Corpus, params))).toBe(
      "b246a3a6b35cdab3fcb747c80d6f8cb3e48028093838bd3b728b06b7196ab2da"
    )
    expect(digest(await rowsOf(demoLines, Corpus, params))).toBe(
      "732e1f0d5ff5591448278ecb2db4b80aae96c7f733f77c708f7a6d7f7808fe0d"
    )
  })

  it("name every item and say which template it needs", async () => {
    const rows = [...(await rowsOf(demoNews, Corpus, params)), ...(await rowsOf(demoLines, Corpus, params))]
    expect(new Set(rows.map((row) => row.item)).size).toBe(12)
    expect(rows.map((row) => row.dataset)).toEqual([
      ...Array.from({ length: 6 }, () => "multi_news"),
      ...Array.from({ length: 6 }, () => "longeval")
    ])
  })

  it("leave items as they are when more are asked for", async () => {
    for (const stage of stages) {
      const few = await rowsOf(stage, Corpus, { lengths: [512], items: 2 })
      const many = await rowsOf(stage, Corpus, { lengths: [1024, 512], items: 5 })
      expect(many).toEqual(expect.arrayContaining([...few]))
    }
  })

  it("share nothing between seeds or between splits", async () => {
    for (const stage of stages) {
      const documents = new Set<string>()
      let items = 0
      for (const split of ["calibration", "validation", "test"])
        for (const seed of [0, 1, 2]) {
          for (const row of await rowsOf(stage, Corpus, { ...params, split, seed }))
            documents.add(row.document)
          items += 6
        }
      expect(documents.size).toBe(items)
    }
  })

  it("fit their length with prompt, answer and end token, and fill at least nine tenths of it", async () => {
    const tokenizer = await openTokenizer(demoModelPath).pipe(
      Effect.provide(NodeContext.layer),
      Effect.runPromise
    )
    for (const stage of stages)
      for (const row of await rowsOf(stage, Corpus, { lengths: [384, 512, 1024, 2048, 4096], items: 8 })) {
        const length = Number(row.item.split("-")[1])
        const template = row.dataset === "multi_news" ? demoPrompts.multi_news : demoPrompts.longeval
        const text = renderPrompt(template, row.document, row.question) + renderAnswer(template, row.answer)
        const tokens = tokenizer.encode(text).length + 1
        expect(tokens).toBeLessThanOrEqual(length)
        expect(tokens).toBeGreaterThan(0.9 * length)
      }
  })

  it("ask about all depths, in any first few items too", async () => {
    const depths = (await rowsOf(demoLines, Corpus, { lengths: [2048], items: 8 })).map((row) => {
      const name = /in line (\S+)\?/.exec(row.question)?.[1]
      return row.document.indexOf(`line ${name}:`) / row.document.length
    })
    // Nothing but a head that keeps everything sees the first line.
    expect(depths.map((depth) => depth < 0.05)).toEqual([true, ...Array.from({ length: 7 }, () => false)])
    const eighths = depths.map((depth) => Math.floor(depth * 8))
    expect(new Set(eighths)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]))
    expect(new Set(eighths.slice(0, 4).map((eighth) => Math.floor(eighth / 2)))).toEqual(
      new Set([0, 1, 2, 3])
    )
  })

  it("refuse lengths that hold no event or come twice, and misspelt splits", async () => {
    await expect(rowsOf(demoNews, Corpus, { lengths: [100] })).rejects.toThrow(/between\(384|384/)
    await expect(rowsOf(demoNews, Corpus, { lengths: [512, 512] })).rejects.toThrow(/given twice/)
    await expect(rowsOf(demoNews, Corpus, { split: "train" })).rejects.toThrow(/split/)
  })
})
