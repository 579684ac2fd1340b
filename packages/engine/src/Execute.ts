/**
 * One execution: from the lease of its key to its published action. Whatever ends it early, nothing of it remains.
 */
import type { ArtifactError, GraphError, Port, Progress, Reader } from "@tessera/core"
import { Store, type StoreError } from "@tessera/store"
import { Clock, DateTime, Duration, Effect, Option } from "effect"
import { commit, type At } from "./Commit.js"
import { EngineError, StageFailed } from "./Errors.js"
import { remember, type History } from "./History.js"
import type { Journal } from "./Journal.js"
import type { Inputs, Keyed } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"
import type { Services } from "./Services.js"

/** Progress faster than this is dropped, except the last of it. */
const PROGRESS_MILLIS = 100

export interface Context<E> {
  readonly journal: Journal
  readonly history: History
  readonly services: Services<E>
  /** Keys whose code was remembered in this run. */
  readonly remembered: Set<string>
}

export type Failure<E> = StageFailed<E> | EngineError | StoreError | ArtifactError | GraphError

export interface Done {
  readonly outputs: Inputs
  readonly cached: boolean
}

/** The result of a key, if the store has it whole; a damaged one counts as missing. */
export const lookUp = (
  { node }: PreparedNode,
  key: string,
  onDamaged?: (why: string) => Effect.Effect<void>
): Effect.Effect<Option.Option<Inputs>, StoreError, Store> =>
  Effect.gen(function* () {
    if (node.stage.spec.reproducible === "no") return Option.none()
    const store = yield* Store
    return Option.map(yield* store.getAction(key, onDamaged), ({ outputs }) => outputs)
  })

const reporter = (journal: Journal, at: At): Effect.Effect<(progress: Progress) => Effect.Effect<void>> =>
  Effect.sync(() => {
    let last = -Infinity
    return (progress) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (now - last < PROGRESS_MILLIS && progress.done !== progress.total) return
        last = now
        yield* Effect.ignore(journal.tell({ _tag: "TaskProgress", ...at, ...progress }))
      })
  })

const produce = <E>(
  at: At,
  { node, params }: PreparedNode,
  inputs: Inputs,
  journal: Journal
): Effect.Effect<Inputs, Failure<E>, unknown> =>
  Effect.gen(function* () {
    const { spec } = node.stage
    const store = yield* Store
    const readers: Record<string, Reader<Port>> = {}
    for (const [port, type] of Object.entries(spec.inputs)) {
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
    const task = { scratch: yield* store.scratch, report: yield* reporter(journal, at) }
    const produced = yield* Effect.mapError(
      Effect.suspend(() => spec.run(readers, params, task)),
      (cause) => new StageFailed<E>({ ...at, cause })
    )
    const outputs: Record<string, Inputs[string]> = {}
    for (const [port, type] of Object.entries(spec.outputs)) {
      outputs[port] = yield* commit<E>(at, port, type, produced[port])
    }
    return outputs
  })

const defect = (at: At) => (cause: unknown) =>
  new EngineError({
    reason: "Defect",
    where: at.shard === undefined ? at.node : `${at.node} (shard ${at.shard})`,
    detail: `threw ${cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)}; this is a bug in the stage`,
    cause
  })

/** Computes a key, or waits for another process that does. */
export const execute = <E>(
  { journal, history, services, remembered }: Context<E>,
  prepared: PreparedNode,
  keyed: Keyed,
  inputs: Inputs,
  shard: string | undefined
): Effect.Effect<Done, Failure<E>, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const at: At = { node: prepared.name, ...(shard === undefined ? {} : { shard }) }
    const { key, manifest } = keyed
    yield* store.lease(key)
    // Whoever held the lease before may have computed it.
    const made = yield* lookUp(prepared, key)
    if (Option.isSome(made)) {
      yield* journal.tell({ _tag: "TaskCached", ...at, key, outputs: made.value })
      return { outputs: made.value, cached: true }
    }
    const { reason } = yield* history.why(at, keyed)
    yield* journal.tell({ _tag: "TaskStarted", ...at, key, reason })
    const startedAt = yield* DateTime.now
    const [took, outputs] = yield* Effect.scoped(produce<E>(at, prepared, inputs, journal)).pipe(
      Effect.provideService(Store, store),
      (work) => services.lend(at, work),
      Effect.catchAllDefect(defect(at)),
      Effect.tapError((error) =>
        Effect.ignore(journal.tell({ _tag: "TaskFailed", ...at, key, error: error.message }))
      ),
      Effect.timed
    )
    const millis = Math.round(Duration.toMillis(took))
    yield* store.putAction({
      key,
      manifest,
      outputs,
      run: journal.run,
      node: prepared.name,
      startedAt: DateTime.formatIso(startedAt),
      millis
    })
    yield* journal.tell({ _tag: "TaskCommitted", ...at, key, millis, outputs })
    if (!remembered.has(manifest.code)) {
      remembered.add(manifest.code)
      yield* remember(journal.run, keyed)
    }
    return { outputs, cached: false }
  }).pipe(Effect.scoped)
