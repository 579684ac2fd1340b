/**
 * The graph of a pipeline, to draw.
 */
import type { GraphError, Pipeline } from "@tessera/core"
import { Effect } from "effect"
import type { RunOptions } from "./Engine.js"
import { prepare } from "./Prepare.js"

export interface OverviewPort {
  readonly name: string
  readonly kind: "table" | "document" | "tree"
  /** The contract, such as `Influence/1`. */
  readonly type: string
}

export interface OverviewNode {
  readonly name: string
  readonly stage: string
  readonly description?: string
  /** Runs once per shard. */
  readonly each: boolean
  readonly inputs: ReadonlyArray<OverviewPort>
  readonly outputs: ReadonlyArray<OverviewPort>
  /** Encoded parameters, defaults applied. */
  readonly params: unknown
}

export interface OverviewEdge {
  readonly from: { readonly node: string; readonly port: string }
  /** Exactly one of an input and a target. */
  readonly to: { readonly node: string; readonly port: string } | { readonly target: string }
  /** `shard`: split by a column; `shards`: shard by shard; `gather`: shards put back together. */
  readonly view: "whole" | "shard" | "shards" | "gather"
  /** The column of a split. */
  readonly by?: string
}

export interface Overview {
  readonly pipeline: string
  readonly nodes: ReadonlyArray<OverviewNode>
  readonly edges: ReadonlyArray<OverviewEdge>
  readonly targets: ReadonlyArray<string>
}

const VIEWS = { Whole: "whole", Shard: "shard", Shards: "shards", Gather: "gather" } as const

/** Nodes producers first, edges in the order of their consumers. */
export const graph = (
  pipeline: Pipeline.Any,
  options: RunOptions = {}
): Effect.Effect<Overview, GraphError> =>
  Effect.map(prepare(pipeline, options), ({ byNode, nodes, targets, pipeline: name }) => {
    type Edge = (typeof targets)[string]
    const edge = ({ node, port, view }: Edge, to: OverviewEdge["to"]): OverviewEdge => ({
      from: { node: byNode.get(node)?.name ?? node.stage.id, port },
      to,
      view: VIEWS[view._tag],
      ...(view._tag === "Shard" ? { by: view.by } : {})
    })
    const ports = (all: (typeof nodes)[number]["node"]["stage"]["spec"]["inputs"]) =>
      Object.entries(all).map(([port, { kind, id }]) => ({ name: port, kind, type: id }))
    return {
      pipeline: name,
      targets: Object.keys(targets),
      nodes: nodes.map(({ name, node, encoded }) => ({
        name,
        stage: node.stage.id,
        ...(node.stage.spec.description === undefined ? {} : { description: node.stage.spec.description }),
        each: node.each,
        inputs: ports(node.stage.spec.inputs),
        outputs: ports(node.stage.spec.outputs),
        params: encoded
      })),
      edges: [
        ...nodes.flatMap(({ name, node }) =>
          Object.entries(node.inputs).map(([port, from]) => edge(from, { node: name, port }))
        ),
        ...Object.entries(targets).map(([target, from]) => edge(from, { target }))
      ]
    }
  })
