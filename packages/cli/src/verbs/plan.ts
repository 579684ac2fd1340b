/**
 * `tessera plan`: what would run, what is cached, and why.
 */
import { plan as planned, type PlannedNode } from "@tessera/engine"
import { Effect } from "effect"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { loadArgs, type PipelineArgs } from "../Load.js"
import { sharedStoreLayer } from "../StoreLayer.js"

export interface PlanArgs extends PipelineArgs {
  readonly store: string
  readonly json: boolean
}

const statusText = ({ status }: PlannedNode): string => {
  switch (status) {
    case "cached":
      return Output.style.good("cached")
    case "unknown":
      return Output.style.dim("unknown")
    default:
      return Output.style.warn(status)
  }
}

const text = (nodes: ReadonlyArray<PlannedNode>): string =>
  Format.columns([
    { title: "node", cells: nodes.map(({ node }) => node) },
    { title: "status", cells: nodes.map(statusText) },
    {
      title: "shards",
      align: "right",
      cells: nodes.map(({ shards }) => (shards === undefined ? "" : `${shards.cached}/${shards.total}`))
    },
    { title: "reason", cells: nodes.map(({ reason, status }) => (reason === status ? "" : reason)) }
  ])

export const plan = (args: PlanArgs) =>
  Effect.gen(function* () {
    const { pipeline, options } = yield* loadArgs(args)
    const nodes = yield* planned(pipeline, options)
    if (args.json) return yield* Output.json({ pipeline: pipeline.name, nodes })
    const cached = nodes.filter(({ status }) => status === "cached").length
    yield* Output.out(`${text(nodes)}\n\n${cached} of ${nodes.length} nodes cached`)
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))
