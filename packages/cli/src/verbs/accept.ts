/**
 * `tessera accept`: takes a node's earlier results for those of its edited code.
 */
import { accept as accepted } from "@tessera/engine"
import { Effect } from "effect"
import { userInfo } from "node:os"
import { loadArgs, type PipelineArgs } from "../Load.js"
import * as Output from "../Output.js"
import { sharedStoreLayer } from "../StoreLayer.js"

export interface AcceptArgs extends PipelineArgs {
  readonly node: string
  readonly why: string
  readonly by: string | undefined
  readonly store: string
  readonly json: boolean
}

export const accept = (args: AcceptArgs) =>
  Effect.gen(function* () {
    const { pipeline, options } = yield* loadArgs(args)
    const by = args.by ?? userInfo().username
    const result = yield* accepted(pipeline, args.node, { by, why: args.why }, options)
    if (args.json) return yield* Output.json({ ...result, by, why: args.why })
    yield* Output.out(
      result.results === 0
        ? `${result.node} is cached as it is; there is nothing to accept`
        : `${result.node}: ${result.results} earlier results accepted by ${by}\n  ${result.differences.join("\n  ")}`
    )
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read-write")))
