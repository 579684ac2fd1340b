/**
 * Token counts of the generated texts without a tokenizer, so that a corpus needs no model to be made.
 */
import { eventKinds } from "./Events.js"
import { fillers } from "./Fillers.js"
import { adjectives, bodies, days, firstNames, months, nouns } from "./Words.js"

const templates = [
  ...fillers,
  ...eventKinds.flatMap(({ leads, facts }) => [
    ...leads,
    ...facts.flatMap(({ told, summary }) => [...told, summary])
  ])
]

/** Words that are one token each in the demo model's vocabulary. */
const whole: ReadonlySet<string> = new Set([
  ...templates.flatMap((sentence) => sentence.replaceAll(/\{\w+\}/g, " ").match(/\p{L}+/gu) ?? []),
  ...adjectives,
  ...bodies,
  ...days,
  ...firstNames,
  ...months,
  "News",
  "Summary",
  "from"
])

const things: ReadonlySet<string> = new Set(nouns)

/** Means over the demo model's vocabulary, which has words after a space rather than after a quotation mark. */
const wordTokens = (piece: string, word: string): number => {
  if (whole.has(word)) return piece === word ? 2 : 1
  if (things.has(word)) return word.length < 5 ? 2 : word.length === 5 ? 2.4 : 3
  return word.length === 6 ? 2.44 : Math.max(2.1, word.length / 3 + 0.05)
}

/** The demo tokenizer's pieces: words with the space before them, single digits, runs of other characters. */
const pieces = /'(?:[sdmt]|ll|ve|re)| ?(\p{L}+)|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

/** Tokens of sentences that `makeNews` made, under the demo model's tokenizer. */
export const approximateTokens = (text: string): number => {
  let tokens = 0
  for (const [piece, word] of text.matchAll(pieces))
    tokens += word === undefined ? (piece === ',"' ? 2 : 1) : wordTokens(piece, word)
  return tokens
}
