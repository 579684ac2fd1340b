/**
 * Which executor each node of a run has.
 */
import { type Graph, GraphError } from "@tessera/core"
import { Either } from "effect"
import type { RunOptions } from "./Engine.js"
import { inline, type Executor } from "./Executor.js"
import * as Process from "./executors/Process.js"
import { suggestion, type PreparedNode } from "./Prepare.js"

export { inline }

/** By the run's options for the node, else for its stage, else by what the stage says. */
export const choose = (
  nodes: ReadonlyArray<PreparedNode>,
  { executor = {}, executors = [] }: Pick<RunOptions, "executor" | "executors">
): Either.Either<ReadonlyMap<Graph.Node, Executor>, GraphError> =>
  Either.gen(function* () {
    const known = new Map([inline, Process.make(), ...executors].map((one) => [one.name, one]))
    const places = new Set(nodes.flatMap(({ name, node }) => [name, node.stage.id]))
    const unknown = Object.keys(executor).find((place) => !places.has(place))
    if (unknown !== undefined) {
      return yield* Either.left(
        new GraphError({
          reason: "UnknownNode",
          where: "executor",
          detail: `there is no node or stage ${unknown}${suggestion(unknown, [...places])}`
        })
      )
    }
    const chosen = new Map<Graph.Node, Executor>()
    for (const { name, node } of nodes) {
      const wanted = executor[name] ?? executor[node.stage.id] ?? node.stage.spec.executor ?? inline.name
      const found = known.get(wanted)
      if (found === undefined) {
        return yield* Either.left(
          new GraphError({
            reason: "InvalidParameter",
            where: name,
            detail: `there is no executor ${wanted}${suggestion(wanted, [...known.keys()])}`
          })
        )
      }
      chosen.set(node, found)
    }
    return chosen
  })
