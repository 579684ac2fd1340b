/**
 * Which cached keys a query reads under a plan, by the definition in @tessera/attention.
 */
import { type Plan, ruleOfQueryHead, windowBlocks } from "@tessera/attention"
import { type ModelConfig, RuntimeError } from "@tessera/runtime"
import { Effect } from "effect"
import { NAME } from "./Sessions.js"

/** Windows of one layer. */
export interface LayerWindows {
  readonly sink: number
  /** The first position of the window of a query at a position, per query head. */
  readonly start: (queryHead: number, position: number) => number
}

/** Undefined: dense. */
export type Windows = ReadonlyArray<LayerWindows> | undefined

const different = (plan: Plan, config: ModelConfig): string | undefined => {
  const wanted: ReadonlyArray<readonly [string, number, number]> = [
    ["layers", plan.model.layers, config.layers],
    ["query heads", plan.model.queryHeads, config.queryHeads],
    ["KV heads", plan.model.kvHeads, config.kvHeads]
  ]
  const wrong = wanted.find(([, a, b]) => a !== b)
  return wrong && `plan ${plan.name} is for a model with ${wrong[1]} ${wrong[0]}; this one has ${wrong[2]}`
}

/** @param length N in the rules. */
export const make = (
  config: ModelConfig,
  plan: Plan | undefined,
  length: number
): Effect.Effect<Windows, RuntimeError> => {
  if (plan === undefined) return Effect.succeed(undefined)
  const wrong = different(plan, config)
  if (wrong !== undefined) return new RuntimeError({ reason: "InvalidRequest", runtime: NAME, detail: wrong })
  const { geometry } = plan
  return Effect.succeed(
    Array.from({ length: config.layers }, (_, layer) => {
      const windows = Array.from({ length: config.queryHeads }, (_, head) =>
        windowBlocks(ruleOfQueryHead(plan, layer, head), geometry, length)
      )
      return {
        sink: geometry.sink,
        start: (head, position) =>
          Math.max(0, (Math.floor(position / geometry.block) - (windows[head] ?? 0) + 1) * geometry.block)
      }
    })
  )
}
