/**
 * Who goes first: the task from which the longest way is left to the end of the run, so that the critical path never
 * waits for work that has time.
 */
import type { Graph } from "@tessera/core"
import { Store, type StoreError } from "@tessera/store"
import { Effect, Stream } from "effect"
import * as Logbook from "./Logbook.js"
import type { Prepared } from "./Prepare.js"

/** A node nobody has timed yet counts as this many milliseconds: enough to count nodes, less than any real work. */
const UNKNOWN = 1
/** Logs of the pipeline to look for durations in. */
const DEPTH = 5

/** Milliseconds of the slowest execution of each node, from the newest run that executed it. */
const durations = (
  pipeline: string,
  current: string
): Effect.Effect<ReadonlyMap<string, number>, StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const known = new Map<string, number>()
    let found = 0
    for (const run of yield* store.runs) {
      if (found === DEPTH) break
      if (run === current) continue
      const told = new Map<string, number>()
      let own = false
      yield* Stream.runForEach(Logbook.events(run), (event) =>
        Effect.sync(() => {
          if (event._tag === "RunStarted") own = event.pipeline === pipeline
          if (event._tag === "TaskCommitted")
            told.set(event.node, Math.max(told.get(event.node) ?? 0, event.millis))
        })
      )
      if (!own) continue
      found++
      for (const [node, millis] of told) if (!known.has(node)) known.set(node, millis)
    }
    return known
  })

/** For each node the longest way from its start to the end of the graph, in milliseconds of `weight`. */
export const longestWays = (
  { byNode, nodes }: Prepared,
  weight: (name: string) => number
): ReadonlyMap<Graph.Node, number> => {
  const ways = new Map<Graph.Node, number>()
  // Consumers first: what comes after a node is known when the node's turn comes.
  for (let i = nodes.length - 1; i >= 0; i--) {
    const one = nodes[i]
    if (one === undefined) continue
    const way = (ways.get(one.node) ?? 0) + weight(one.name)
    ways.set(one.node, way)
    for (const { node } of Object.values(one.node.inputs)) {
      if (byNode.has(node)) ways.set(node, Math.max(ways.get(node) ?? 0, way))
    }
  }
  return ways
}

/** Weighed by what the nodes took before. */
export const make = (
  prepared: Prepared,
  run: string
): Effect.Effect<ReadonlyMap<Graph.Node, number>, never, Store> =>
  durations(prepared.pipeline, run).pipe(
    // Only an order depends on it.
    Effect.orElseSucceed(() => new Map<string, number>()),
    Effect.map((known) => longestWays(prepared, (name) => Math.max(UNKNOWN, known.get(name) ?? UNKNOWN)))
  )
