import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { eventKinds } from "../src/Events.js"
import { fillers } from "../src/Fillers.js"
import { makeNews, random } from "../src/index.js"

const words = (text: string) => text.split(/\s+/).filter((word) => word !== "").length
const news = fc
  .record({ seed: fc.nat(), length: fc.integer({ min: 400, max: 3000 }) })
  .map(({ seed, length }) => ({ length, made: makeNews(random("test", seed), length, words) }))

/** Matches a sentence of the template with anything in its slots. */
const pattern = (template: string) =>
  template.replaceAll(/[.*+?^$()[\]|]/g, String.raw`\$&`).replaceAll(/\{\w+\}/g, "[A-Za-z0-9. ]+?")

const sentences = [...fillers, ...eventKinds.flatMap((event) => event.facts.flatMap((fact) => fact.told))]
const leads = eventKinds.flatMap((event) => event.leads)
const document = new RegExp(
  `^News from [A-Z][a-z]+:( (${leads.map(pattern).join("|")}))?( (${sentences.map(pattern).join("|")}))+$`
)

describe("makeNews", () => {
  it("tells every fact of its event in the documents and in the summary", () => {
    fc.assert(
      fc.property(news, ({ made }) => {
        const event = eventKinds.find((kind) => kind.name === made.event)
        expect([...made.facts.keys()]).toEqual(event?.facts.map((fact) => fact.name))
        const all = made.documents.join("\n")
        for (const value of made.facts.values()) {
          expect(all).toContain(value)
          expect(made.summary).toContain(value)
        }
      })
    )
  })

  it("is made of the sentences the model was trained on and nothing else", () => {
    fc.assert(
      fc.property(news, ({ made }) => {
        for (const text of made.documents) expect(text).toMatch(document)
        const event = eventKinds.find((kind) => kind.name === made.event)
        expect(made.summary).toMatch(
          new RegExp(`^${event?.facts.map((fact) => pattern(fact.summary)).join(" ")}$`)
        )
      }),
      { numRuns: 30 }
    )
  })

  it("fills its length and does not exceed it", () => {
    fc.assert(
      fc.property(news, ({ length, made }) => {
        const around = 3 + (made.documents.length - 1)
        const total = words([...made.documents, made.summary].join(" ")) + around
        expect(total).toBeLessThanOrEqual(length)
        expect(total).toBeGreaterThan(0.95 * length)
      })
    )
  })

  it("spreads the facts over the documents", () => {
    const made = makeNews(random("spread"), 2000, words)
    expect(made.documents.length).toBeGreaterThanOrEqual(5)
    const holding = made.documents.filter((text) =>
      [...made.facts.values()].some((value) => text.includes(value))
    )
    expect(holding.length).toBeGreaterThanOrEqual(3)
  })
})
