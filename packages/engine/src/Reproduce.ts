/**
 * Executes again what the store has, and compares: whether results are what their keys promise. What differs replaces
 * nothing.
 */
import { GraphError, type Pipeline, type Targets } from "@tessera/core"
import { Store, type Artifact } from "@tessera/store"
import { Duration, Effect, Option } from "effect"
import { at } from "./Commit.js"
import type { RunOptions } from "./Engine.js"
import type { Failure } from "./Executor.js"
import { survey, type Surveyed, type Task } from "./Plan.js"
import { suggestion } from "./Prepare.js"
import { produce } from "./Produce.js"
import type { Services } from "./Services.js"

export interface Reproduced {
  readonly node: string
  readonly shard?: string
  readonly key: string
  /** `failed`: it gave a result before, and does not now. */
  readonly outcome: "equal" | "different" | "failed"
  /** Output ports whose content differs. */
  readonly outputs: Readonly<Record<string, readonly [stored: Artifact, again: Artifact | undefined]>>
  readonly error?: string
  readonly millis: number
}

const again = <E>(
  services: Services<E>,
  { prepared }: Surveyed,
  { inputs, keyed, shard }: Task,
  stored: Readonly<Record<string, Artifact>>
): Effect.Effect<Reproduced, never, Store> =>
  Effect.gen(function* () {
    const where = at(prepared.name, shard)
    const held = { report: () => Effect.void, slots: {} }
    const [took, exit] = yield* Effect.timed(Effect.either(produce(services, where, prepared, inputs, held)))
    const base = { ...where, key: keyed.key, millis: Math.round(Duration.toMillis(took)) }
    if (exit._tag === "Left") return { ...base, outcome: "failed", outputs: {}, error: exit.left.message }
    const outputs = Object.fromEntries(
      Object.entries(stored).flatMap(([port, before]) => {
        const after = exit.right[port]
        return before.digest === after?.digest ? [] : [[port, [before, after] as const]]
      })
    )
    return { ...base, outcome: Object.keys(outputs).length === 0 ? "equal" : "different", outputs }
  })

/**
 * One execution after the other, in this process, of everything that is stored for the nodes; what is not stored, and
 * stages that say they are not reproducible, are left out.
 *
 * @param nodes names; all of the pipeline where there are none
 * @param onTask hears of each as it is done
 */
export const reproduce = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  nodes: ReadonlyArray<string>,
  options: RunOptions = {},
  onTask: (task: Reproduced) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<ReadonlyArray<Reproduced>, Failure<E>, R | Store> =>
  survey(pipeline, options, ({ nodes: all, pipeline: name, services }) =>
    Effect.gen(function* () {
      const names = all.map(({ prepared }) => prepared.name)
      const unknown = nodes.find((node) => !names.includes(node))
      if (unknown !== undefined) {
        return yield* new GraphError({
          reason: "UnknownNode",
          where: `pipeline ${name}`,
          detail: `there is no node ${unknown}${suggestion(unknown, names)}`
        })
      }
      const chosen = all.filter(({ prepared }) => nodes.length === 0 || nodes.includes(prepared.name))
      const tasks = chosen.flatMap((node) =>
        node.tasks.flatMap((task) =>
          Option.match(task.action, {
            onNone: () => [],
            onSome: ({ outputs }) => [again(services, node, task, outputs)]
          })
        )
      )
      return yield* Effect.forEach(tasks, Effect.tap(onTask))
    })
  )
