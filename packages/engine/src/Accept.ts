/**
 * Takes the results of a node's earlier code for those of its present code: a person vouches that an edit changes
 * nothing. Who, when and why stay with the results.
 */
import { GraphError, type Manifest, type Pipeline, type Targets } from "@tessera/core"
import { Store } from "@tessera/store"
import { DateTime, Effect, Option } from "effect"
import type { RunOptions } from "./Engine.js"
import { EngineError } from "./Errors.js"
import * as History from "./History.js"
import { survey } from "./Plan.js"
import { suggestion } from "./Prepare.js"
import type { Failure } from "./Executor.js"

export interface Acceptance {
  readonly by: string
  readonly why: string
}

export interface Accepted {
  readonly node: string
  /** What was accepted: code differences, in words. */
  readonly differences: ReadonlyArray<string>
  /** Executions whose earlier results now stand for them; those that were cached already do not count. */
  readonly results: number
}

const sameButCode = (before: Manifest, after: Manifest): boolean =>
  JSON.stringify({ ...before, code: "" }) === JSON.stringify({ ...after, code: "" })

/** Fails, and accepts nothing, where any execution of the node differs in more than its code, or never ran. */
export const accept = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  node: string,
  { by, why }: Acceptance,
  options: RunOptions = {}
): Effect.Effect<Accepted, Failure<E>, R | Store> =>
  survey(pipeline, options, ({ pipeline: name, nodes }) =>
    Effect.gen(function* () {
      const found = nodes.find(({ prepared }) => prepared.name === node)
      if (found === undefined) {
        const names = nodes.map(({ prepared }) => prepared.name)
        const detail = `there is no node ${node}${suggestion(node, names)}`
        return yield* new GraphError({ reason: "UnknownNode", where: `pipeline ${name}`, detail })
      }
      const refuse = (detail: string) => new EngineError({ reason: "Refused", where: node, detail })
      if (found.waitsFor.length > 0)
        return yield* refuse(
          `its key depends on ${found.waitsFor.join(", ")}, not computed yet; accept or run that first`
        )
      const store = yield* Store
      const history = yield* History.make(name)
      const words = new Set<string>()
      const missing = found.tasks.filter(({ action }) => Option.isNone(action))
      const actions = yield* Effect.forEach(missing, ({ shard, keyed }) =>
        Effect.gen(function* () {
          const at = { node, ...(shard === undefined ? {} : { shard }) }
          const what = shard === undefined ? "it" : `shard ${shard}`
          const { previous, differences } = yield* history.why(at, keyed)
          if (Option.isNone(previous)) return yield* refuse(`${what} has no earlier result to accept; run it`)
          if (!sameButCode(previous.value.manifest, keyed.manifest))
            return yield* refuse(`${what} differs in more than its code: ${differences.join("; ")}; run it`)
          const earlier = yield* store.getAction(previous.value.key)
          if (Option.isNone(earlier)) return yield* refuse(`the earlier result of ${what} is gone; run it`)
          for (const difference of differences) words.add(difference)
          const { key, manifest } = keyed
          const when = DateTime.formatIso(yield* DateTime.now)
          return {
            ...earlier.value,
            key,
            manifest,
            accepted: { by, why, at: when, from: previous.value.key }
          }
        })
      )
      yield* Effect.forEach(actions, store.putAction, { discard: true })
      yield* Effect.forEach(missing.slice(0, 1), ({ keyed }) => History.remember("accepted", keyed))
      return { node, differences: [...words], results: actions.length }
    })
  )
