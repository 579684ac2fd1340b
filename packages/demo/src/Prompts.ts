/**
 * How the demo model must be asked: the only forms it was trained on. Parameters for whoever renders prompts.
 */

export interface PromptTemplate {
  /** What stands between the documents of an item where its corpus joins them by ` ||||| `. */
  readonly separator: string
  /** `{document}` and `{question}` are replaced by the item's, with nothing added or trimmed. */
  readonly prompt: string
  /** `{answer}` is replaced by the item's answer. The model's own begins the same way and ends with its end token. */
  readonly answer: string
}

/** By the corpus' `dataset`. */
export const demoPrompts = {
  multi_news: { separator: "\n|||||\n", prompt: "{document}\n\nSummary:", answer: " {answer}" },
  longeval: { separator: " ||||| ", prompt: "{document}{question}", answer: "{answer}" }
} as const satisfies Readonly<Record<string, PromptTemplate>>

/** What joins the documents of a Multi-News item, here as in the real data set. */
export const documentSeparator = " ||||| "

/** A template's prompt for one item. */
export const renderPrompt = (template: PromptTemplate, document: string, question: string): string =>
  template.prompt.replaceAll(/\{(document|question)\}/g, (_, slot) =>
    slot === "question" ? question : document.split(documentSeparator).join(template.separator)
  )

/** A template's answer for one item, to follow its prompt. */
export const renderAnswer = (template: PromptTemplate, answer: string): string =>
  template.answer.replaceAll("{answer}", () => answer)
