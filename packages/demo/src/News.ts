/**
 * Multi-document news in the form of Multi-News: documents about one event, its facts spread over them among sentences
 * that say nothing of it, and the reference summary. The wording is the only one the demo model was trained on.
 */
import type { Random } from "./Random.js"
import { eventKinds, type EventKind, type Kind } from "./Events.js"
import { fillers } from "./Fillers.js"
import { adjectives, bodies, codas, days, firstNames, middles, months, nouns, onsets } from "./Words.js"

export interface News {
  /** Kind of event. */
  readonly event: string
  readonly documents: readonly [string, ...ReadonlyArray<string>]
  /** The event's values by the name of the fact, in the order of the summary. */
  readonly facts: ReadonlyMap<string, string>
  readonly summary: string
}

/** How many tokens a piece of text takes; pieces are divided where words begin. */
export type CountTokens = (text: string) => number

const name = (random: Random): string =>
  random.pick(onsets) + (random.chance(40) ? random.pick(middles) : "") + random.pick(codas)

const value: Readonly<Record<Kind, (random: Random) => string>> = {
  place: name,
  surname: name,
  person: (random) => `${random.pick(firstNames)} ${name(random)}`,
  organisation: (random) => `${name(random)} ${random.pick(bodies)}`,
  day: (random) => random.pick(days),
  month: (random) => random.pick(months),
  adjective: (random) => random.pick(adjectives),
  noun: (random) => random.pick(nouns),
  digit: (random) => String(2 + random.int(8)),
  tens: (random) => String(10 + random.int(90)),
  hundreds: (random) => String(100 + random.int(900)),
  year: (random) => String(1900 + random.int(124)),
  decimal: (random) => `${2 + random.int(8)}.${random.int(10)}`
}

const isKind = (slot: string): slot is Kind => Object.hasOwn(value, slot)

/** Fills in the event's own values; any other slot gets a random value of its kind. */
const fill = (random: Random, sentence: string, facts: ReadonlyMap<string, string>): string =>
  sentence.replaceAll(/\{(\w+)\}/g, (_, slot: string) => {
    const own = facts.get(slot)
    if (own !== undefined) return own
    if (!isKind(slot)) throw new Error(`no event says what {${slot}} is: ${sentence}`)
    return value[slot](random)
  })

const none: ReadonlyMap<string, string> = new Map()

/** The sentences that tell the event's facts: each once, some twice. */
const tell = (random: Random, event: EventKind, facts: ReadonlyMap<string, string>) =>
  event.facts.flatMap((fact) =>
    Array.from({ length: random.chance(25) ? 2 : 1 }, () => fill(random, random.pick(fact.told), facts))
  )

/** Sentences that fill what is left of the budget, in tokens. */
const fillUp = (random: Random, budget: number, count: CountTokens): ReadonlyArray<string> => {
  const sentences: Array<string> = []
  // The last gap is tried with several sentences: they take from 8 to 30 tokens.
  for (let left = budget, misses = 0; misses < 20;) {
    const sentence = fill(random, random.pick(fillers), none)
    const tokens = count(` ${sentence}`)
    if (tokens > left) {
      misses++
      continue
    }
    left -= tokens
    sentences.push(sentence)
  }
  return sentences
}

const opening = (random: Random, event: EventKind, facts: ReadonlyMap<string, string>): string =>
  random.chance(50)
    ? `News from ${facts.get("place")}: ${fill(random, random.pick(event.leads), facts)}`
    : `News from ${name(random)}:`

/**
 * @param length tokens of documents and summary together, with what stands between and around them; not exceeded where
 *   `count` does not count too little.
 */
export const makeNews = (random: Random, length: number, count: CountTokens): News => {
  const event = random.pick(eventKinds)
  const facts = new Map(event.facts.map((fact) => [fact.name, value[fact.kind](random)]))
  const summary = event.facts.map((fact) => fill(random, fact.summary, facts)).join(" ")
  const documents = Math.max(1, Math.min(12, Math.floor(length / 350) + random.int(2)))
  const openings = Array.from({ length: documents }, () => opening(random, event, facts))
  const told = tell(random, event, facts)
  // Besides begin and end of text.
  const around = 2 + count("\n\nSummary:") + (documents - 1) * count("\n|||||\n")
  const fixed = [...openings, ...told, summary].reduce((sum, text) => sum + count(` ${text}`), around)
  const sentences = random.shuffle([...told, ...fillUp(random, length - fixed, count)])
  const from = (document: number) => Math.floor((document * sentences.length) / documents)
  const [first = "", ...others] = openings.map((start, i) =>
    [start, ...sentences.slice(from(i), from(i + 1))].join(" ")
  )
  return { event: event.name, documents: [first, ...others], facts, summary }
}
