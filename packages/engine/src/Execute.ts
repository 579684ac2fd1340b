/**
 * One execution: from the lease of its key to its published action. Whatever ends it early, nothing of it remains.
 */
import type { Progress } from "@tessera/core"
import { Store, type StoreError } from "@tessera/store"
import { Clock, DateTime, Duration, Effect, Option } from "effect"
import type { At } from "./Commit.js"
import { EngineError } from "./Errors.js"
import type { Executor, Failure, Request } from "./Executor.js"
import { remember, type History } from "./History.js"
import type { Job } from "./Job.js"
import type { Journal } from "./Journal.js"
import type { Inputs, Keyed } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"
import { place, produce } from "./Produce.js"
import type { Services } from "./Services.js"
import type { Granted } from "./Slots.js"

/** Progress faster than this is dropped, except the last of it. */
const PROGRESS_MILLIS = 100

export interface Context<E> {
  readonly journal: Journal
  readonly history: History
  readonly services: Services<E>
  /** What another process rebuilds the graph from; undefined where the pipeline was not loaded from a module. */
  readonly origin: Pick<Job, "module" | "params" | "set"> | undefined
  /** Keys whose code was remembered in this run. */
  readonly remembered: Set<string>
}

/** One execution of a node, or of one of its shards. */
export interface Execution {
  readonly prepared: PreparedNode
  readonly keyed: Keyed
  readonly inputs: Inputs
  readonly at: At
  readonly executor: Executor
}

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
        // A clock that cannot be set back.
        const now = Number((yield* Clock.currentTimeNanos) / 1_000_000n)
        if (now - last < PROGRESS_MILLIS && progress.done !== progress.total) return
        last = now
        yield* Effect.ignore(journal.tell({ _tag: "TaskProgress", ...at, ...progress }))
      })
  })

const jobOf = <E>(
  { origin }: Context<E>,
  { at, executor, inputs, keyed }: Execution,
  granted: Granted
): Effect.Effect<Job, Failure<E>, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    if (origin === undefined) {
      return yield* new EngineError({
        reason: "Job",
        where: place(at),
        detail: `executor ${executor.name} works in another process, which must load the pipeline by itself: run it with the tessera command, or give RunOptions.module`
      })
    }
    const { key, manifest } = keyed
    return { format: 1, ...origin, ...at, key, manifest, inputs, store: store.location, ...granted }
  })

const request = <E>(
  context: Context<E>,
  execution: Execution,
  granted: Granted
): Effect.Effect<Request<E>, never, Store> =>
  Effect.gen(function* () {
    const { at, inputs, prepared } = execution
    const store = yield* Store
    const report = yield* reporter(context.journal, at)
    return {
      job: Effect.provideService(jobOf(context, execution, granted), Store, store),
      here: Effect.provideService(
        produce(context.services, at, prepared, inputs, { report, slots: granted.slots }),
        Store,
        store
      ),
      report
    }
  })

const timed = <E>(
  { at, executor, prepared }: Execution,
  request: Request<E>
): Effect.Effect<Inputs, Failure<E>, Store> => {
  const { timeout } = prepared.node.stage.spec
  const work = executor.run(request)
  return timeout === undefined
    ? work
    : Effect.timeoutFail(work, {
        duration: timeout,
        onTimeout: () =>
          new EngineError({
            reason: "Timeout",
            where: place(at),
            detail: `was stopped after ${Duration.format(Duration.decode(timeout))}, the longest its stage allows`
          })
      })
}

/** Computes a key, or waits for another process that does. */
export const execute = <E>(
  context: Context<E>,
  execution: Execution,
  granted: Granted
): Effect.Effect<Done, Failure<E>, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const { at, keyed, prepared } = execution
    const { history, journal, remembered } = context
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
    const [took, outputs] = yield* Effect.timed(timed(execution, yield* request(context, execution, granted)))
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
  }).pipe(
    Effect.scoped,
    Effect.withSpan(`tessera.${execution.at.node}`, {
      attributes: {
        "tessera.key": execution.keyed.key,
        "tessera.executor": execution.executor.name,
        ...execution.at
      }
    })
  )
