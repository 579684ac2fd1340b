/**
 * Runs a stage and commits what it returns; the same in this process and in another.
 */
import { CurrentTask, type Port, type Progress, type Reader } from "@tessera/core"
import { Store } from "@tessera/store"
import { Effect } from "effect"
import { commit, type At } from "./Commit.js"
import { EngineError, StageFailed } from "./Errors.js"
import type { Failure } from "./Executor.js"
import type { Outputs } from "./Job.js"
import type { Inputs } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"
import type { Services } from "./Services.js"

export interface Held {
  /** An empty folder; default one of the store's. */
  readonly scratch?: string | undefined
  readonly slots: Readonly<Record<string, ReadonlyArray<string>>>
  readonly report: (progress: Progress) => Effect.Effect<void>
}

/** For messages. */
export const place = ({ node, shard }: At): string =>
  shard === undefined ? node : `${node} (shard ${shard})`

const defect = (at: At) => (cause: unknown) =>
  new EngineError({
    reason: "Defect",
    where: place(at),
    detail: `threw ${cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)}; this is a bug in the stage`,
    cause
  })

const open = (at: At, { node }: PreparedNode, inputs: Inputs) =>
  Effect.gen(function* () {
    const store = yield* Store
    const readers: Record<string, Reader<Port>> = {}
    for (const [port, type] of Object.entries(node.stage.spec.inputs)) {
      const artifact = inputs[port]
      if (artifact === undefined) {
        return yield* new EngineError({
          reason: "Output",
          where: `${at.node}.${port}`,
          detail: "nothing is connected"
        })
      }
      readers[port] = yield* store.open(type, artifact)
    }
    return readers
  })

/** The artifacts are in the store when it succeeds; whatever ends it early, nothing else of it remains. */
export const produce = <E>(
  services: Services<E>,
  at: At,
  prepared: PreparedNode,
  inputs: Inputs,
  { report, scratch, slots }: Held
): Effect.Effect<Outputs, Failure<E>, Store> =>
  Effect.gen(function* () {
    const { spec } = prepared.node.stage
    const store = yield* Store
    const work = Effect.gen(function* () {
      const readers = yield* open(at, prepared, inputs)
      const task = { scratch: scratch ?? (yield* store.scratch), report, slots }
      const running = Effect.gen(function* () {
        const produced = yield* Effect.mapError(
          Effect.suspend(() => spec.run(readers, prepared.params, task)),
          (cause) => new StageFailed<E>({ ...at, cause })
        )
        const outputs: Record<string, Outputs[string]> = {}
        for (const [port, type] of Object.entries(spec.outputs)) {
          outputs[port] = yield* commit<E>(at, port, type, produced[port])
        }
        return outputs
      })
      return yield* Effect.provideService(running, CurrentTask, task)
    })
    return yield* Effect.scoped(work).pipe(
      Effect.provideService(Store, store),
      (effect) => services.lend(at, effect),
      Effect.catchAllDefect(defect(at))
    )
  })
