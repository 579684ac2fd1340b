/**
 * Which items serve which length.
 */
import type { Corpus } from "@tessera/attention"
import type { Row } from "@tessera/core"
import type { Tokenizer } from "@tessera/runtime"
import { around, joined, renderAnswer, type Template } from "./Template.js"
import { fit, type Prompt } from "./Cut.js"

export type CorpusItem = Row<typeof Corpus>

/** An item as the model would read it, whole. */
export interface Rendered {
  readonly item: CorpusItem
  readonly document: string
  readonly around: readonly [before: string, after: string]
  /** Whether the tokenizer adds its own begin-of-text tokens; a chat template has them already. */
  readonly special: boolean
  /** Tokens of the whole prompt. */
  readonly size: number
  /** Tokens kept free for the answer. */
  readonly reserve: number
}

export interface Selected {
  readonly item: CorpusItem
  readonly prompt: Prompt
  /** Tokens that the answer may have. */
  readonly room: number
}

export const render = (
  tokenizer: Tokenizer,
  template: Template,
  item: CorpusItem,
  maxNewTokens: number
): Rendered => {
  const chat =
    tokenizer.chat && ((content: string) => tokenizer.chat?.([{ role: "user", content }]) ?? content)
  const special = !(template.chat && chat !== undefined)
  const parts = around(template, item.question, chat)
  const document = joined(template, item.document)
  const answer = renderAnswer(template, item.answer)
  const answerTokens =
    item.answer === "" ? maxNewTokens : tokenizer.encode(answer, { special: false }).length + 1
  return {
    item,
    document,
    around: parts,
    special,
    size: tokenizer.encode(parts[0] + document + parts[1], { special }).length,
    reserve: Math.min(maxNewTokens, answerTokens)
  }
}

/**
 * At most `count` items for a length: first those that fill more than half of it by themselves, in the order of the
 * corpus, then longer ones cut to it, the shortest first. Items with a question are never cut: its answer may go.
 */
export const select = (
  tokenizer: Tokenizer,
  items: ReadonlyArray<Rendered>,
  length: number,
  count: number,
  maxNewTokens: number
): ReadonlyArray<Selected> => {
  const fits = items.filter(({ size, reserve }) => size + reserve <= length && size + reserve > length / 2)
  const longer = items
    .filter(({ size, reserve, item }) => size + reserve > length && item.question === "")
    .sort((a, b) => a.size - b.size)
  const selected: Array<Selected> = []
  for (const { item, document, around, special, reserve } of [...fits, ...longer]) {
    if (selected.length >= count) break
    const prompt = fit(tokenizer, document, around, special, length - reserve)
    if (prompt === undefined) continue
    selected.push({ item, prompt, room: Math.min(maxNewTokens, length - prompt.tokens.length) })
  }
  return selected
}
