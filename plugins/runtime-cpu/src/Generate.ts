/**
 * Generation: greedy, or sampled from the nucleus with a seed.
 */
import { checkGenerate, type Generation, type GenerateRequest, type RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64"
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus"
import * as DecodeCache from "./DecodeCache.js"
import { embed, type Executor, positionFeeds } from "./Executor.js"
import { prefill } from "./Forward.js"
import * as KvCache from "./KvCache.js"
import { NAME } from "./Sessions.js"
import { floats } from "./Tensors.js"
import * as Windows from "./Windows.js"

const argmax = (logits: Float32Array): number => {
  let best = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? 0) > (logits[best] ?? 0)) best = i
  return best
}

type Pick = (logits: Float32Array) => number

const sampler = ({ temperature, topP = 1, seed }: NonNullable<GenerateRequest["sampling"]>): Pick => {
  const random = xoroshiro128plus(seed)
  return (logits) => {
    const top = logits[argmax(logits)] ?? 0
    const weighted = Array.from(logits, (logit, id) => ({
      id,
      weight: Math.exp((logit - top) / temperature)
    }))
    weighted.sort((a, b) => b.weight - a.weight || a.id - b.id)
    const total = weighted.reduce((sum, { weight }) => sum + weight, 0)
    let nucleus = 0
    let mass = 0
    while (nucleus < weighted.length && mass < topP * total) mass += weighted[nucleus++]?.weight ?? 0
    let left = uniformFloat64(random) * mass
    for (const { id, weight } of weighted.slice(0, nucleus)) {
      left -= weight
      if (left <= 0) return id
    }
    return weighted[nucleus - 1]?.id ?? 0
  }
}

export const generate = (
  executor: Executor,
  request: GenerateRequest
): Effect.Effect<Generation, RuntimeError> =>
  Effect.gen(function* () {
    yield* checkGenerate(NAME, executor.config, request)
    const { config, sessions, weights } = executor
    const { prompt, maxNewTokens, plan, sampling, stop = config.endOfText } = request
    const planned = plan?.length === "prompt" ? prompt.length : prompt.length + maxNewTokens
    const windows = yield* Windows.make(config, plan, planned)
    const pick = sampling === undefined ? argmax : sampler(sampling)
    const prompted = KvCache.make(config, prompt.length)
    const x = yield* prefill(executor, prompt, prompted, windows, prompt.length - 1)
    const first = { x: floats(x.slice(-config.hidden), [1, config.hidden]), ...weights.head }
    let logits = (yield* sessions.run("logits", first)).float("logits")
    const cache = DecodeCache.make(config, prompted, windows)
    const tokens: Array<number> = []
    for (let position = prompt.length; ; position++) {
      const token = pick(logits)
      tokens.push(token)
      if (stop.includes(token)) return { tokens, ended: "stop" }
      if (tokens.length >= maxNewTokens) return { tokens, ended: "length" }
      const outputs = yield* sessions.run("decode", {
        ...weights.all,
        ...positionFeeds(executor, position, position + 1),
        ...cache.feeds(position),
        x: floats(embed(executor, [token]), [1, config.hidden])
      })
      cache.add(position, outputs)
      logits = outputs.float("logits")
    }
  })
