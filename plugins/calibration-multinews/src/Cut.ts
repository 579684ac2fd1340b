/**
 * Prompts that fit: the middle of a document is cut out, its start and end are kept (moa.md's `context_reduction`).
 */
import type { Tokenizer } from "@tessera/runtime"

export interface Prompt {
  readonly tokens: ReadonlyArray<number>
  readonly text: string
  readonly cut: boolean
}

/** The first and the last half of the tokens that may stay, as text. */
export const middleCut = (tokenizer: Tokenizer, document: string, keep: number): string => {
  const tokens = tokenizer.encode(document, { special: false })
  if (tokens.length <= keep) return document
  const half = Math.floor(keep / 2)
  return tokenizer.decode(tokens.slice(0, half)) + tokenizer.decode(tokens.slice(tokens.length - half))
}

/**
 * A prompt of at most `room` tokens, or undefined where not even an empty document leaves room.
 *
 * Decoding a cut and encoding it again may give other tokens at the seam, so the result is counted, not computed.
 */
export const fit = (
  tokenizer: Tokenizer,
  document: string,
  [before, after]: readonly [before: string, after: string],
  special: boolean,
  room: number
): Prompt | undefined => {
  const encode = (body: string) => tokenizer.encode(before + body + after, { special })
  const whole = encode(document)
  if (whole.length <= room) return { tokens: whole, text: before + document + after, cut: false }
  const size = tokenizer.encode(document, { special: false }).length
  for (let keep = size - (whole.length - room); keep > 0;) {
    const body = middleCut(tokenizer, document, keep)
    const tokens = encode(body)
    if (tokens.length <= room) return { tokens, text: before + body + after, cut: true }
    keep -= Math.max(2, tokens.length - room)
  }
  return undefined
}
