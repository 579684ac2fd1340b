/** Small inputs that the stages of the plugins have in common. */
import type { AttentionShape, Plan } from "@tessera/attention"
import { uniformPlan } from "@tessera/baseline-streaming-llm"

/** Of the demo model. */
export const shape: AttentionShape = {
  architecture: "LlamaForCausalLM",
  layers: 8,
  queryHeads: 8,
  kvHeads: 4,
  headDim: 64
}
export const geometry = { block: 16, sink: 16, minWindow: 1 }

export const plan = (density: number): Plan =>
  uniformPlan(shape, { density, geometry, name: `keeps-${density}`, length: "prompt+new" })

export const candidates = (...densities: readonly [number, ...ReadonlyArray<number>]) => {
  const [first, ...rest] = densities.map((density) => ({ plan: plan(density), expected: [] }))
  if (first === undefined) throw new Error("there is one at least")
  return { candidates: [first, ...rest] as const }
}

const names = ["Calaby", "Torrid", "Merrow", "Vintle", "Osker", "Pellan"]
/** About two tokens a word. */
const text = (words: number, seed: number) =>
  Array.from({ length: words }, (_, i) => names[(i * 7 + seed) % names.length]).join(" ")

export const corpusItem = (item: string, words: number, dataset = "multi_news") => ({
  item,
  dataset,
  document: text(words, item.length),
  question: "",
  answer: "Calaby wins."
})

export const calibrationItem = (item: string, tokens: number, answer: number) => ({
  item,
  dataset: "multi_news",
  length: tokens,
  tokens: Array.from({ length: tokens }, (_, i) => (i * 7919 + item.length) % 2560),
  mask: Array.from({ length: tokens }, (_, i) => i >= tokens - answer),
  prompt: "",
  answer: "",
  cut: false
})
