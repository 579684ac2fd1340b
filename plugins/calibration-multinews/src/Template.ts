/**
 * How items become prompts.
 */
import { Schema } from "effect"

export const Template = Schema.Struct({
  /** What stands between the documents of an item where its corpus joins them by ` ||||| `. */
  separator: Schema.optionalWith(Schema.String, { default: () => " ||||| " }),
  /** `{document}` and `{question}` are replaced by the item's. */
  prompt: Schema.String.pipe(
    Schema.filter(
      (prompt) => prompt.split("{document}").length === 2 || "the prompt needs {document} exactly once"
    )
  ),
  /** `{answer}` is replaced by the item's, where its own answer is used. */
  answer: Schema.optionalWith(Schema.String, { default: () => "{answer}" }),
  /** Whether the prompt is a user's turn in the tokenizer's chat template, where it has one. */
  chat: Schema.optionalWith(Schema.Boolean, { default: () => false })
}).annotations({ identifier: "Template" })
export type Template = typeof Template.Type

/** The official system's prompt for Multi-News (reference: MoA's calibration data set, config `prompt`). */
export const moaTemplates = {
  multi_news: {
    separator: "\n\n",
    prompt:
      "You are given several news passages. Write a one-page summary of all news. \n\nNews:\n{document}\n\n" +
      "Now, write a one-page summary of all the news.\n\nSummary:",
    chat: true
  }
} as const

/** What stands before and after the document. */
export const around = (
  template: Template,
  question: string,
  chat: ((prompt: string) => string) | undefined
): readonly [before: string, after: string] => {
  const marked = template.prompt.replaceAll("{question}", () => question)
  const whole = template.chat && chat !== undefined ? chat(marked) : marked
  const at = whole.indexOf("{document}")
  return [whole.slice(0, at), whole.slice(at + "{document}".length)]
}

export const joined = (template: Template, document: string): string =>
  document.split(" ||||| ").join(template.separator)

export const renderAnswer = (template: Template, answer: string): string =>
  template.answer.replaceAll("{answer}", () => answer)
