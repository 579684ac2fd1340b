/**
 * What every runtime refuses before it executes anything, in the same words.
 */
import type { Plan } from "@tessera/attention"
import { Effect } from "effect"
import { RuntimeError } from "./Errors.js"
import type { ModelConfig } from "./ModelConfig.js"
import type {
  GenerateRequest,
  InfluenceItem,
  InfluenceOptions,
  ScoreRequest,
  Tokens
} from "./ModelRuntime.js"

type Checked = Effect.Effect<void, RuntimeError>

const refuse = (runtime: string, detail: string): Checked =>
  new RuntimeError({ reason: "InvalidRequest", runtime, detail })

/** Fails on ids outside the vocabulary and on sequences longer than the model's positions. */
export const checkTokens = (
  runtime: string,
  config: ModelConfig,
  what: string,
  tokens: Tokens,
  more = 0
): Checked => {
  const wrong = Array.from(tokens).findIndex(
    (id) => !Number.isInteger(id) || id < 0 || id >= config.vocabulary
  )
  if (wrong >= 0) {
    return refuse(
      runtime,
      `${what}: token ${wrong} has the id ${tokens[wrong]}; the vocabulary has ${config.vocabulary}`
    )
  }
  return tokens.length + more > config.maxPositions
    ? refuse(
        runtime,
        `${what}: ${tokens.length + more} tokens do not fit the model's ${config.maxPositions} positions; use a shorter length`
      )
    : Effect.void
}

/** Fails unless the plan was made for a model of this attention shape. */
export const checkPlan = (runtime: string, config: ModelConfig, { name, model }: Plan): Checked => {
  const wanted: ReadonlyArray<readonly [string, number, number]> = [
    ["layers", model.layers, config.layers],
    ["query heads", model.queryHeads, config.queryHeads],
    ["KV heads", model.kvHeads, config.kvHeads]
  ]
  const wrong = wanted.find(([, a, b]) => a !== b)
  return wrong === undefined
    ? Effect.void
    : refuse(runtime, `plan ${name} is for a model with ${wrong[1]} ${wrong[0]}; this one has ${wrong[2]}`)
}

export const checkGenerate = (runtime: string, config: ModelConfig, request: GenerateRequest): Checked => {
  const { prompt, maxNewTokens, sampling } = request
  if (prompt.length === 0)
    return refuse(runtime, "the prompt is empty; begin it with the begin-of-text token")
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1)
    return refuse(runtime, `maxNewTokens is ${maxNewTokens}; give 1 or more`)
  if (sampling !== undefined && !(sampling.temperature > 0)) {
    return refuse(
      runtime,
      `the temperature is ${sampling.temperature}; give a positive one, or leave sampling out for greedy`
    )
  }
  if (sampling?.topP !== undefined && !(sampling.topP > 0 && sampling.topP <= 1))
    return refuse(runtime, `topP is ${sampling.topP}; give one above 0 and up to 1`)
  return checkTokens(runtime, config, "prompt", prompt, maxNewTokens)
}

export const checkScore = (
  runtime: string,
  config: ModelConfig,
  { prefix, continuations }: ScoreRequest
): Checked => {
  if (prefix.length === 0) {
    return refuse(
      runtime,
      "the prefix is empty: nothing predicts the first token; begin it with the begin-of-text token"
    )
  }
  const longest = Math.max(0, ...continuations.map((tokens) => tokens.length))
  return Effect.zipRight(
    checkTokens(runtime, config, "prefix", prefix, longest),
    Effect.forEach(continuations, (tokens, i) => checkTokens(runtime, config, `continuation ${i}`, tokens), {
      discard: true
    })
  )
}

export const checkInfluence = (
  runtime: string,
  config: ModelConfig,
  { tokens, mask }: InfluenceItem,
  { block, reduce }: InfluenceOptions
): Checked => {
  if (mask.length !== tokens.length)
    return refuse(runtime, `the mask has ${mask.length} flags for ${tokens.length} tokens`)
  if (!Number.isInteger(block) || block < 1)
    return refuse(runtime, `the block is ${block}; give 1 or more tokens`)
  if (reduce !== undefined && !(reduce.sink >= 0 && reduce.sink % block === 0))
    return refuse(runtime, `the sink is ${reduce.sink}; give a whole number of blocks of ${block} tokens`)
  if (!mask.some((counted, i) => counted && i > 0)) return refuse(runtime, "the mask counts no token's loss")
  return checkTokens(runtime, config, "tokens", tokens)
}

/** The same of several items that are added up. */
export const checkInfluences = (
  runtime: string,
  config: ModelConfig,
  items: ReadonlyArray<InfluenceItem>,
  options: InfluenceOptions
): Checked =>
  items.length === 0
    ? refuse(runtime, "there is no item to add up; give one or more")
    : Effect.forEach(items, (item) => checkInfluence(runtime, config, item, options), { discard: true })
