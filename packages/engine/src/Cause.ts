/**
 * Why the input of a node is not what it was: followed up the graph to the first thing that a person or an upgrade
 * changed.
 */
import type { Graph, Manifest } from "@tessera/core"
import type { StoreError } from "@tessera/store"
import { Effect, Option } from "effect"
import { changedInputs, ownDifferences } from "./Difference.js"
import type { Keyed } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"
import type { Records } from "./Records.js"

/** The graph as it is now. */
export interface Upstream {
  readonly nodes: ReadonlyArray<PreparedNode>
  /** The executions of a node that were keyed so far. */
  readonly keyed: (node: Graph.Node) => ReadonlyArray<Keyed>
}

/** Earlier executions of one node to look at: shards differ by their inputs only, so that a few tell of all. */
const SHARDS = 32

export interface Causes {
  /** Why an input of a node is not what it was in a run; undefined where that cannot be told. */
  readonly of: (node: string, port: string, run: string) => Effect.Effect<string | undefined, StoreError>
}

/** @param keysIn the keys of a node in a run */
export const make = (
  { keyed, nodes }: Upstream,
  keysIn: (run: string, node: string) => Effect.Effect<ReadonlyArray<string>, StoreError>,
  records: Records
): Causes => {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const byNode = new Map(nodes.map((node) => [node.node, node]))
  const known = new Map<string, Effect.Effect<string | undefined, StoreError>>()

  const producer = ({ node }: PreparedNode, port: string): PreparedNode | undefined => {
    const edge = node.inputs[port]
    return edge === undefined ? undefined : byNode.get(edge.node)
  }

  const compare = (
    node: PreparedNode,
    before: ReadonlyArray<Manifest>,
    now: ReadonlyArray<Manifest>,
    current: Keyed,
    run: string
  ): Effect.Effect<string | undefined, StoreError> =>
    Effect.gen(function* () {
      const [first] = before
      if (first === undefined) return `stage ${node.name} changed`
      const own = ownDifferences(first, current.manifest, yield* records.codes(first, current))
      if (own.length > 0) return `stage ${node.name}'s ${own.join(", ")}`
      const ports = new Set(before.flatMap((old) => now.flatMap((manifest) => changedInputs(old, manifest))))
      for (const port of ports) {
        const digests = new Set(now.map(({ inputs }) => inputs[port]?.[1]))
        const from = producer(node, port)
        if (from === undefined || before.every(({ inputs }) => digests.has(inputs[port]?.[1]))) continue
        const deeper = yield* changed(from, run)
        if (deeper !== undefined) return deeper
      }
      return undefined
    })

  const look = (node: PreparedNode, run: string): Effect.Effect<string | undefined, StoreError> =>
    Effect.gen(function* () {
      if (node.node.source !== undefined) return `the content of source ${node.name} changed`
      const all = keyed(node.node)
      const had = new Set(yield* keysIn(run, node.name))
      const has = new Set(all.map(({ key }) => key))
      const [fresh] = all.filter(({ key }) => !had.has(key))
      const gone = [...had].filter((key) => !has.has(key))
      if (had.size === 0 || all.length === 0) return undefined
      if (fresh === undefined)
        return gone.length > 0
          ? `${node.name} has fewer shards`
          : `stage ${node.name} gave another result under the same key`
      if (gone.length === 0) return `${node.name} has more shards`
      const before = yield* Effect.forEach(gone.slice(0, SHARDS), records.manifest, { concurrency: 8 })
      return yield* compare(
        node,
        before.flatMap(Option.toArray),
        all.map(({ manifest }) => manifest),
        fresh,
        run
      )
    })

  /** One answer for all consumers. */
  const changed = (node: PreparedNode, run: string): Effect.Effect<string | undefined, StoreError> =>
    Effect.suspend(() => {
      const at = `${run}\0${node.name}`
      const found = known.get(at)
      if (found !== undefined) return found
      return Effect.flatMap(Effect.cached(look(node, run)), (answer) => {
        known.set(at, answer)
        return answer
      })
    })

  return {
    of: (node, port, run) => {
      const consumer = byName.get(node)
      const from = consumer === undefined ? undefined : producer(consumer, port)
      return from === undefined ? Effect.succeed(undefined) : changed(from, run)
    }
  }
}
