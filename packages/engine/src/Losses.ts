/**
 * What a run that goes on after failures has lost: the failures, and what cannot be computed for want of them.
 */
import type { Graph } from "@tessera/core"
import { EngineError, StageFailed } from "./Errors.js"
import type { PreparedNode } from "./Prepare.js"
import type { Value } from "./Views.js"

/** Failures of one task that say nothing of the others. A store that fails fails for all. */
const ONE_TASK: ReadonlySet<EngineError["reason"]> = new Set([
  "Output",
  "Defect",
  "Timeout",
  "Lost",
  "Job",
  "Resources"
])

export type TaskFailure<E> = StageFailed<E> | EngineError

export const isTaskFailure = <E>(error: unknown): error is TaskFailure<E> =>
  error instanceof StageFailed || (error instanceof EngineError && ONE_TASK.has(error.reason))

/** What a node lost: all of it, or the shards that are named. */
type Loss = "all" | ReadonlySet<string>

export interface Losses<E> {
  readonly failures: ReadonlyArray<TaskFailure<E>>
  /** Nodes that ran not at all or in part for want of others. */
  readonly skipped: ReadonlySet<string>
  readonly fail: (node: PreparedNode, shard: string | undefined, error: TaskFailure<E>) => void
  /**
   * What a node loses by what its producers lost: because of which of them, and whether all of it. It counts as lost
   * from then on.
   */
  readonly inherit: (node: PreparedNode) => { readonly because: ReadonlyArray<string>; readonly all: boolean }
  /** Leaves out the shards that an input lost, in all inputs: they are paired by name. */
  readonly without: (
    node: PreparedNode,
    values: Readonly<Record<string, Value>>
  ) => Readonly<Record<string, Value>>
  /** Whether what arrives along an edge is whole. */
  readonly whole: (edge: Graph.Edge) => boolean
}

export const make = <E>(byNode: ReadonlyMap<Graph.Node, PreparedNode>): Losses<E> => {
  const lost = new Map<Graph.Node, Loss>()
  const failures: Array<TaskFailure<E>> = []
  const skipped = new Set<string>()

  const lose = (node: Graph.Node, loss: Loss) => {
    const before = lost.get(node)
    lost.set(node, loss === "all" || before === "all" ? "all" : new Set([...(before ?? []), ...loss]))
  }

  return {
    failures,
    skipped,
    fail: ({ node }, shard, error) => {
      failures.push(error)
      lose(node, shard === undefined ? "all" : new Set([shard]))
    },
    inherit: ({ name, node }) => {
      const because = new Set<string>()
      let all = false
      for (const { node: producer, view } of Object.values(node.inputs)) {
        const loss = lost.get(producer)
        if (loss === undefined) continue
        because.add(byNode.get(producer)?.name ?? producer.stage.id)
        // Shard by shard, what is left can go on; whole, it would be a result of too little.
        if (loss === "all" || view._tag !== "Shards") all = true
        else lose(node, loss)
      }
      if (all) lose(node, "all")
      if (because.size > 0) skipped.add(name)
      return { because: [...because], all }
    },
    without: ({ node }, values) => {
      const loss = lost.get(node)
      if (loss === undefined || loss === "all") return values
      return Object.fromEntries(
        Object.entries(values).map(([port, value]): [string, Value] => [
          port,
          value._tag === "One"
            ? value
            : { _tag: "Many", shards: value.shards.filter(({ shard }) => !loss.has(shard)) }
        ])
      )
    },
    whole: ({ node }) => !lost.has(node)
  }
}
