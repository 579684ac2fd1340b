/**
 * Which cached keys a query reads under a plan, by the definition in @tessera/attention.
 */
import { type Plan, planWindows } from "@tessera/attention"
import { checkPlan, type ModelConfig, type RuntimeError } from "@tessera/runtime"
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

/** @param length N in the rules. */
export const make = (
  config: ModelConfig,
  plan: Plan | undefined,
  length: number
): Effect.Effect<Windows, RuntimeError> => {
  if (plan === undefined) return Effect.succeed(undefined)
  const { block, sink } = plan.geometry
  return Effect.as(
    checkPlan(NAME, config, plan),
    planWindows(plan, length).map((windows) => ({
      sink,
      start: (head, position) =>
        Math.max(0, (Math.floor(position / block) - (windows[head] ?? 0) + 1) * block)
    }))
  )
}
