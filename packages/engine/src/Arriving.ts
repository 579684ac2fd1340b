/**
 * What arrives along the edges of a run.
 */
import type { Graph } from "@tessera/core"
import { Store } from "@tessera/store"
import { Effect, Option } from "effect"
import type { Failure } from "./Executor.js"
import type { Prepared } from "./Prepare.js"
import { view, type Outcome, type Value } from "./Views.js"

export type Arriving<E> = (edge: Graph.Edge) => Effect.Effect<Value, Failure<E>>

/** Consumers that see an output alike share one view of it. */
export const make = <E>(
  { byNode }: Prepared,
  outcomes: ReadonlyMap<Graph.Node, Outcome>,
  run: string
): Effect.Effect<Arriving<E>, never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const shared = yield* Effect.cachedFunction((edge: Graph.Edge): Effect.Effect<Value, Failure<E>> =>
      Effect.gen(function* () {
        const [producer, outcome] = [byNode.get(edge.node), outcomes.get(edge.node)]
        if (producer === undefined || outcome === undefined)
          return yield* Effect.dieMessage("a node ran before its inputs were there")
        const value = yield* view({ run, mode: "compute" }, producer, outcome, edge)
        return Option.getOrThrow(value)
      }).pipe(Effect.provideService(Store, store))
    )
    const same = new Map<Graph.Node, Map<string, Graph.Edge>>()
    return (edge) => {
      const views = same.get(edge.node) ?? new Map<string, Graph.Edge>()
      same.set(edge.node, views)
      const sort = [edge.port, edge.view._tag, edge.view._tag === "Shard" ? edge.view.by : ""].join("\0")
      const first = views.get(sort) ?? edge
      views.set(sort, first)
      return shared(first)
    }
  })
