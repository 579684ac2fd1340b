import { openTokenizer } from "@tessera/runtime"
import { NodeContext } from "@effect/platform-node"
import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { demoModelPath, lineTokens, makeLineRecord, random } from "../src/index.js"

const record = fc
  .record({
    seed: fc.nat(),
    lines: fc.integer({ min: 1, max: 300 }),
    questions: fc.integer({ min: 1, max: 10 })
  })
  .map(({ seed, lines, questions }) => ({
    lines,
    questions,
    made: makeLineRecord(
      random("test", seed),
      lines,
      Array.from({ length: questions }, (_, part) => ({ part, of: questions }))
    )
  }))

describe("makeLineRecord", () => {
  it("has the form the model was trained on", () => {
    const made = makeLineRecord(random("form"), 40, [{ part: 0, of: 1 }])
    expect(made.text).toMatch(
      /^Below is a record of lines to remember\. Each line has a name and a <REGISTER_CONTENT>\.\n(line [a-z]+-[a-z]+: REGISTER_CONTENT is <\d{5}>\n){40}$/
    )
    const [asked] = made.questions
    expect(asked?.question).toBe(
      `Tell me what is the <REGISTER_CONTENT> in line ${asked?.line.name}? I need the number.\n`
    )
    expect(asked?.answer).toBe(
      `The <REGISTER_CONTENT> in line ${asked?.line.name} is <${asked?.line.content}>.`
    )
  })

  it("gives every line a name of its own and every answer one place in the record", () => {
    fc.assert(
      fc.property(record, ({ lines, made }) => {
        expect(made.lines.length).toBe(lines)
        expect(new Set(made.lines.map((line) => line.name)).size).toBe(lines)
        for (const { line } of made.questions)
          expect(made.text.split(`line ${line.name}: REGISTER_CONTENT is <${line.content}>\n`).length).toBe(2)
      })
    )
  })

  it("asks about another line in each part of the record", () => {
    fc.assert(
      fc.property(record, ({ lines, questions, made }) => {
        fc.pre(lines >= questions)
        expect(new Set(made.questions.map((q) => q.line.name)).size).toBe(questions)
        made.questions.forEach(({ depth, line }, part) => {
          expect(made.lines[Math.floor(depth * lines)]).toBe(line)
          expect(depth).toBeGreaterThanOrEqual(part / questions)
          expect(depth).toBeLessThan((part + 1) / questions)
        })
      })
    )
  })

  it("refuses a record without lines", () => {
    expect(() => makeLineRecord(random("none"), 0, [])).toThrow(/1 to \d+ lines, not 0/)
  })
})

describe("lineTokens", () => {
  it("is what the demo tokenizer gives for any names", async () => {
    const tokenizer = await openTokenizer(demoModelPath).pipe(
      Effect.provide(NodeContext.layer),
      Effect.runPromise
    )
    fc.assert(
      fc.property(record, ({ lines, made }) => {
        for (const { question, answer } of made.questions)
          expect(tokenizer.encode(made.text + question + answer).length + 1).toBe(
            lines * lineTokens.line + lineTokens.rest
          )
      }),
      { numRuns: 8 }
    )
  })
})
