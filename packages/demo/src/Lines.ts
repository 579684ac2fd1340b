/**
 * LongEval line retrieval: a record of named lines, each with a number, and questions for the number of one line. The
 * wording is the only one the demo model was trained on.
 */
import type { Random } from "./Random.js"
import { adjectives, nouns } from "./Words.js"

export interface Line {
  /** `adjective-noun`, unique in its record. */
  readonly name: string
  /** Five digits. */
  readonly content: string
}

export interface LineQuestion {
  readonly line: Line
  /** What follows the record, up to the answer. */
  readonly question: string
  readonly answer: string
  /** Where the line is among the record's lines: 0 at the start, 1 at the end. */
  readonly depth: number
}

export interface LineRecord {
  readonly lines: ReadonlyArray<Line>
  /** Header and lines, each ended by a line break. */
  readonly text: string
  readonly questions: ReadonlyArray<LineQuestion>
}

const header = "Below is a record of lines to remember. Each line has a name and a <REGISTER_CONTENT>.\n"

/** Tokens under the demo model's tokenizer, which has every name's two words, and every digit, as one token each. */
export const lineTokens = {
  /** Of one line, its line break included. */
  line: 17,
  /** Of everything else: begin of text, header, question, answer and end of text. */
  rest: 1 + 22 + 22 + 19 + 1
}

/** The most lines a record can have: every line has a name of its own. */
export const mostLines = adjectives.length * nouns.length

const renderLine = ({ name, content }: Line) => `line ${name}: REGISTER_CONTENT is <${content}>\n`

const ask = (lines: ReadonlyArray<Line>, index: number): LineQuestion => {
  const line = lines[index]
  if (line === undefined) throw new RangeError(`a record of ${lines.length} lines has no line ${index}`)
  return {
    line,
    question: `Tell me what is the <REGISTER_CONTENT> in line ${line.name}? I need the number.\n`,
    answer: `The <REGISTER_CONTENT> in line ${line.name} is <${line.content}>.`,
    depth: (index + 0.5) / lines.length
  }
}

const makeLines = (random: Random, count: number): ReadonlyArray<Line> => {
  // Names from few words share one half with several others, so both halves must be matched.
  const few = Math.ceil(Math.sqrt(count)) + 2
  const poolSize = (all: number) => Math.min(all, few + random.int(2 * few))
  const shared = random.chance(60) && few <= Math.min(adjectives.length, nouns.length)
  const first = random.shuffle(adjectives).slice(0, shared ? poolSize(adjectives.length) : adjectives.length)
  const second = random.shuffle(nouns).slice(0, shared ? poolSize(nouns.length) : nouns.length)
  return random.distinct(count, first.length * second.length).map((code) => ({
    name: `${first[Math.floor(code / second.length)]}-${second[code % second.length]}`,
    content: Array.from({ length: 5 }, () => random.int(10)).join("")
  }))
}

/** One of `of` equal parts of a record, counted from 0. */
export interface Part {
  readonly part: number
  readonly of: number
}

/**
 * A record with one question in each of the given parts, somewhere in the part.
 *
 * @param count lines, at most `mostLines`. Questions are about different lines where there are no more parts than lines.
 */
export const makeLineRecord = (random: Random, count: number, parts: ReadonlyArray<Part>): LineRecord => {
  if (count < 1 || count > mostLines)
    throw new RangeError(`a record has 1 to ${mostLines} lines, not ${count}`)
  const lines = makeLines(random, count)
  return {
    lines,
    text: header + lines.map(renderLine).join(""),
    questions: parts.map(({ part, of }) => {
      // The lines whose middle is in the part: depth buckets then hold whole parts.
      const from = Math.min(Math.max(0, Math.ceil((part * count) / of - 0.5)), count - 1)
      const to = Math.max(Math.ceil(((part + 1) * count) / of - 0.5), from + 1)
      return ask(lines, from + random.int(to - from))
    })
  }
}

/**
 * Tokens to leave free in a record of the given length class, so that records of one class differ in length: with the
 * line that may not fit, at most a twentieth.
 */
export const lineSlack = (random: Random, length: number): number =>
  random.int(Math.max(1, Math.floor(length / 20) - lineTokens.line + 1))
