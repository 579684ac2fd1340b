/**
 * `tessera explain`: what differs from the last execution of a node, then all that its result depends on.
 */
import { explain as explained, type Explanation } from "@tessera/engine"
import { Effect } from "effect"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { loadArgs, type PipelineArgs } from "../Load.js"
import { sharedStoreLayer } from "../StoreLayer.js"

export interface ExplainArgs extends PipelineArgs {
  readonly node: string
  readonly store: string
  readonly json: boolean
}

const verdict = ({ cached, accepted, previous, differences }: Explanation): string => {
  if (accepted !== undefined)
    return `cached: accepted by ${accepted.by} on ${accepted.at.slice(0, 10)}: ${accepted.why}`
  if (cached) return "cached: it would not run"
  if (previous === undefined) return "would run: it has never run"
  return differences.length === 0 ? "would run: its result is no longer in the store" : "would run:"
}

const text = (explanation: Explanation): string => {
  const { node, key, manifest, previous, differences } = explanation
  return [
    `${Output.style.bold(node)} ${verdict(explanation)}`,
    ...(explanation.cached && differences.length > 0 ? ["what differs from its last execution:"] : []),
    ...differences.map((difference) => `  ${difference}`),
    "",
    `key       ${Format.digest(key)}`,
    ...(previous === undefined ? [] : [`previous  ${Format.digest(previous.key)} (run ${previous.run})`]),
    "manifest",
    JSON.stringify(manifest, undefined, 2)
  ].join("\n")
}

export const explain = (args: ExplainArgs) =>
  Effect.gen(function* () {
    const { pipeline, options } = yield* loadArgs(args)
    const explanation = yield* explained(pipeline, args.node, options)
    yield* args.json ? Output.json(explanation) : Output.out(text(explanation))
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))
