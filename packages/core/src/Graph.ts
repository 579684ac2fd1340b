/**
 * The untyped graph under the refs: what the engine plans and runs.
 */
import type { AnyStage } from "./Stage.js"

/** How a consumer sees a producer's output. */
export type View =
  | { readonly _tag: "Whole" }
  /** Split the producer's table by a column. */
  | { readonly _tag: "Shard"; readonly by: string }
  /** The producer ran once per shard: pass its shards on, one to one. */
  | { readonly _tag: "Shards" }
  /** The producer ran once per shard: concatenate. */
  | { readonly _tag: "Gather" }

export interface Edge {
  readonly node: Node
  readonly port: string
  readonly view: View
}

/** A stage applied to inputs and parameters. */
export interface Node {
  readonly stage: AnyStage
  /** The name given by the pipeline, or undefined: the stage's id, numbered when it is used more than once. */
  readonly name: string | undefined
  readonly inputs: Readonly<Record<string, Edge>>
  /** As the author wrote them: not yet decoded, defaults not applied. */
  readonly params: unknown
  /** Whether the stage runs once per shard of its sharded inputs. */
  readonly each: boolean
  /** Set on a source: the folder or file to adopt instead of running the stage. */
  readonly source?: string | URL
}

export interface NamedNode {
  readonly name: string
  readonly node: Node
}

/** Every node that the targets need, producers before consumers, each with its unique name. */
export const nodes = (targets: Readonly<Record<string, Edge>>): ReadonlyArray<NamedNode> => {
  const seen = new Set<Node>()
  const order: Array<Node> = []
  // An explicit stack: graphs can be deeper than the call stack.
  const stack = Object.values(targets)
    .map((edge) => ({ node: edge.node, expanded: false }))
    .reverse()
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    if (top.expanded) {
      order.push(top.node)
      continue
    }
    if (seen.has(top.node)) continue
    seen.add(top.node)
    stack.push({ node: top.node, expanded: true })
    for (const edge of Object.values(top.node.inputs).reverse()) {
      if (!seen.has(edge.node)) stack.push({ node: edge.node, expanded: false })
    }
  }
  const taken = new Set(order.flatMap((node) => (node.name === undefined ? [] : [node.name])))
  const uses = new Map<string, number>()
  const named = (node: Node): string => {
    if (node.name !== undefined) return node.name
    const { id } = node.stage
    for (;;) {
      const use = (uses.get(id) ?? 0) + 1
      uses.set(id, use)
      const name = use === 1 ? id : `${id}-${use}`
      if (!taken.has(name)) return name
    }
  }
  return order.map((node) => ({ name: named(node), node }))
}
