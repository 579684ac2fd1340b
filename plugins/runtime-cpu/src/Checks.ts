import { type ModelConfig, RuntimeError, type Tokens } from "@tessera/runtime"
import { Effect } from "effect"
import { NAME } from "./Sessions.js"

/** Fails on ids outside the vocabulary and on sequences longer than the model's positions. */
export const checkTokens = (
  config: ModelConfig,
  what: string,
  tokens: Tokens,
  more = 0
): Effect.Effect<void, RuntimeError> => {
  const invalid = (detail: string) => new RuntimeError({ reason: "InvalidRequest", runtime: NAME, detail })
  const wrong = Array.from(tokens).findIndex(
    (id) => !Number.isInteger(id) || id < 0 || id >= config.vocabulary
  )
  if (wrong >= 0) {
    return invalid(
      `${what}: token ${wrong} has the id ${tokens[wrong]}; the vocabulary has ${config.vocabulary}`
    )
  }
  return tokens.length + more > config.maxPositions
    ? invalid(
        `${what}: ${tokens.length + more} tokens do not fit the model's ${config.maxPositions} positions; use a shorter length`
      )
    : Effect.void
}
