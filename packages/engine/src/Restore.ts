/**
 * What only a remote store has is brought here before it is needed; what turns out to be lost there is computed again.
 */
import type { Graph } from "@tessera/core"
import { Store, StoreError, type Artifact } from "@tessera/store"
import { Effect, Option } from "effect"
import type { Failure } from "./Executor.js"
import type { Inputs } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"
import { view, type Outcome, type Value } from "./Views.js"

/** The part of a run that is needed to compute something again. */
export interface Restoring<E> {
  /** The id of the run. */
  readonly run: string
  readonly byNode: ReadonlyMap<Graph.Node, PreparedNode>
  readonly outcomes: ReadonlyMap<Graph.Node, Outcome>
  /** Computes those results of a node that the store no longer has. */
  readonly recompute: (node: PreparedNode) => Effect.Effect<void, Failure<E>, Store>
}

const isLost = (error: unknown): error is StoreError =>
  error instanceof StoreError && error.reason === "NotFound"

/** Transfers at once. */
const TRANSFERS = 8

const bring = (artifacts: ReadonlyArray<Artifact>): Effect.Effect<void, StoreError, Store> =>
  Effect.flatMap(Store, (store) =>
    Effect.forEach(artifacts, store.fetch, { concurrency: TRANSFERS, discard: true })
  )

/** Whether any is lost; each is looked at, so that the store knows of all of them. */
const anyLost = (artifacts: ReadonlyArray<Artifact>): Effect.Effect<boolean, StoreError, Store> =>
  Effect.map(
    Effect.forEach(
      artifacts,
      (artifact) => Effect.catchIf(Effect.as(bring([artifact]), false), isLost, () => Effect.succeed(true)),
      { concurrency: TRANSFERS }
    ),
    (lost) => lost.includes(true)
  )

const produced = (outcome: Outcome, port: string): ReadonlyArray<Artifact> =>
  (outcome._tag === "One" ? [outcome.outputs] : outcome.shards.map(({ outputs }) => outputs)).flatMap(
    (outputs) => outputs[port] ?? []
  )

const artifacts = (value: Value): ReadonlyArray<Artifact> =>
  value._tag === "One" ? [value.artifact] : value.shards.map(({ artifact }) => artifact)

/** What arrives along an edge, here in full. */
const restored = <E>(
  { byNode, outcomes, recompute, run }: Restoring<E>,
  edge: Graph.Edge
): Effect.Effect<Value, Failure<E>, Store> =>
  Effect.gen(function* () {
    const [producer, outcome] = [byNode.get(edge.node), outcomes.get(edge.node)]
    if (producer === undefined || outcome === undefined)
      return yield* Effect.dieMessage("a node ran before its inputs were there")
    if (producer.node.source === undefined && (yield* anyLost(produced(outcome, edge.port))))
      yield* recompute(producer)
    const seen = Effect.map(view({ run, mode: "compute" }, producer, outcome, edge), Option.getOrThrow)
    const value = yield* seen
    return (yield* anyLost(artifacts(value))) ? yield* seen : value
  })

/** What arrives along an edge, also where making it needs something that was lost. */
export const arriving = <E>(
  restoring: Restoring<E>,
  edge: Graph.Edge,
  first: Effect.Effect<Value, Failure<E>>
): Effect.Effect<Value, Failure<E>, Store> => Effect.catchIf(first, isLost, () => restored(restoring, edge))

/** Brings the inputs of a task here. */
export const inputs = <E>(
  restoring: Restoring<E>,
  { node }: PreparedNode,
  needed: Inputs
): Effect.Effect<void, Failure<E>, Store> =>
  Effect.catchIf(bring(Object.values(needed)), isLost, () =>
    Effect.zipRight(
      Effect.forEach(Object.values(node.inputs), (edge) => restored(restoring, edge), { discard: true }),
      bring(Object.values(needed))
    )
  )

/** Brings what arrives along an edge here. */
export const target = <E>(
  restoring: Restoring<E>,
  edge: Graph.Edge,
  value: Value
): Effect.Effect<void, Failure<E>, Store> =>
  Effect.catchIf(bring(artifacts(value)), isLost, () =>
    Effect.zipRight(restored(restoring, edge), bring(artifacts(value)))
  )
