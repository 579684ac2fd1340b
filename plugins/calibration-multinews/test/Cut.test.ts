import { demoModelPath } from "@tessera/demo"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { openTokenizer } from "@tessera/runtime"
import { Effect, Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { fit, middleCut } from "../src/Cut.js"
import { render, select } from "../src/Select.js"
import { around, Template } from "../src/Template.js"

const tokenizer = await Effect.runPromise(
  openTokenizer(demoModelPath).pipe(Effect.provide(NodeContext.layer))
)
const count = (text: string) => tokenizer.encode(text, { special: false }).length
const words = fc.array(fc.constantFrom("in", "the", "beginning", "was", "word", "and", "light", ".", "\n"), {
  minLength: 1,
  maxLength: 400
})
const template = Schema.decodeSync(Template)({ prompt: "Read: {document}\n{question}Summary:" })

describe("a middle cut", () => {
  it("keeps the start and the end, half each, and no more than asked for", () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 2, max: 300 }), (list, keep) => {
        const text = list.join(" ")
        const cut = middleCut(tokenizer, text, keep)
        fc.pre(count(text) > keep)
        const [all, kept] = [tokenizer.encode(text, { special: false }), Math.floor(keep / 2)]
        expect(cut).toBe(
          tokenizer.decode(all.slice(0, kept)) + tokenizer.decode(all.slice(all.length - kept))
        )
      }),
      { numRuns: 50 }
    )
  })

  it("makes every prompt fit its room exactly or better, whatever the seam becomes", () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 24, max: 300 }), (list, room) => {
        const prompt = fit(tokenizer, list.join(" "), around(template, "", undefined), true, room)
        if (prompt === undefined) return
        expect(prompt.tokens.length).toBeLessThanOrEqual(room)
        expect(tokenizer.encode(prompt.text)).toEqual(prompt.tokens)
      }),
      { numRuns: 50 }
    )
  })
})

describe("the choice of items for a length", () => {
  const item = (name: string, size: number, question = "") =>
    render(
      tokenizer,
      template,
      {
        item: name,
        dataset: "d",
        document: Array.from({ length: size }, () => "light").join(" "),
        question,
        answer: ""
      },
      16
    )

  it("takes what fills more than half by itself first, then cuts longer ones, and leaves out the short", () => {
    const items = [item("long", 600), item("short", 20), item("fits", 120), item("longer", 900)]
    const chosen = select(tokenizer, items, 200, 3, 16)
    expect(chosen.map(({ item, prompt }) => [item.item, prompt.cut])).toEqual([
      ["fits", false],
      ["long", true],
      ["longer", true]
    ])
    for (const { prompt, room } of chosen) expect(prompt.tokens.length + room).toBeLessThanOrEqual(200)
  })

  it("never cuts an item with a question: its answer may go", () => {
    expect(select(tokenizer, [item("long", 600, "Which?\n")], 200, 3, 16)).toEqual([])
  })
})
