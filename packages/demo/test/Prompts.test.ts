import { describe, expect, it } from "vitest"
import { demoPrompts, renderAnswer, renderPrompt } from "../src/index.js"

describe("renderPrompt", () => {
  it("renders news as the model was trained on it", () => {
    expect(renderPrompt(demoPrompts.multi_news, "News from A: x. ||||| News from B: y.", "")).toBe(
      "News from A: x.\n|||||\nNews from B: y.\n\nSummary:"
    )
    expect(renderAnswer(demoPrompts.multi_news, "It rained.")).toBe(" It rained.")
  })

  it("renders lines as record and question", () => {
    expect(renderPrompt(demoPrompts.longeval, "line a\n", "Which?\n")).toBe("line a\nWhich?\n")
    expect(renderAnswer(demoPrompts.longeval, "a")).toBe("a")
  })

  it("puts texts in as they are", () => {
    expect(renderPrompt(demoPrompts.longeval, "{question} $& {document}", "$1")).toBe(
      "{question} $& {document}$1"
    )
    expect(renderAnswer(demoPrompts.multi_news, "$& {answer}")).toBe(" $& {answer}")
  })
})
