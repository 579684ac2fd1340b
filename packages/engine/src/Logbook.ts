/**
 * What the logs of a store say of its runs.
 */
import { Store, type StoreError } from "@tessera/store"
import { Effect, Option, Schema, Stream } from "effect"
import { RunEvent } from "./Events.js"

export interface RunSummary {
  readonly run: string
  readonly pipeline: string
  readonly startedAt: string
  /** `unfinished`: it is still running, or was killed. */
  readonly outcome: "succeeded" | "failed" | "interrupted" | "unfinished"
  /** Undefined while unfinished. */
  readonly millis: number | undefined
  /** Executions that were committed, served from the store, and failed. */
  readonly executed: number
  readonly cached: number
  readonly failed: number
  readonly warnings: number
}

const decode = Schema.decodeUnknownOption(RunEvent)

/** Lines of other versions are left out. */
const known = <E>(raw: Stream.Stream<unknown, E>): Stream.Stream<RunEvent, E> => Stream.filterMap(raw, decode)

const step = (summary: RunSummary, event: RunEvent): RunSummary => {
  switch (event._tag) {
    case "RunStarted":
      return { ...summary, pipeline: event.pipeline, startedAt: event.at }
    case "TaskCommitted":
      return { ...summary, executed: summary.executed + 1 }
    case "TaskCached":
      return { ...summary, cached: summary.cached + 1 }
    case "TaskFailed":
      return { ...summary, failed: summary.failed + 1 }
    case "Warning":
      return { ...summary, warnings: summary.warnings + 1 }
    case "RunFinished":
      return { ...summary, outcome: event.outcome, millis: event.millis }
    default:
      return summary
  }
}

/** One run in short. */
export const summary = (run: string): Effect.Effect<RunSummary, StoreError, Store> =>
  Effect.flatMap(Store, (store) =>
    Stream.runFold(
      known(store.events(run)),
      {
        run,
        pipeline: "",
        startedAt: "",
        outcome: "unfinished",
        millis: undefined,
        executed: 0,
        cached: 0,
        failed: 0,
        warnings: 0
      } satisfies RunSummary,
      step
    )
  )

/** The runs of a store, newest first. */
export const runs: Stream.Stream<RunSummary, StoreError, Store> = Stream.unwrap(
  Effect.map(
    Effect.flatMap(Store, (store) => store.runs),
    (all) => Stream.mapEffect(Stream.fromIterable(all), summary)
  )
)

/** The newest run whose id starts like this; the newest of all for an empty text. */
export const findRun = (start: string): Effect.Effect<Option.Option<string>, StoreError, Store> =>
  Effect.map(
    Effect.flatMap(Store, (store) => store.runs),
    (all) => Option.fromNullable(all.find((run) => run.startsWith(start)))
  )

/** What a run has told so far. */
export const events = (run: string): Stream.Stream<RunEvent, StoreError, Store> =>
  Stream.unwrap(Effect.map(Store, (store) => known(store.events(run))))

/**
 * What a run has told and will tell, up to its end: `RunFinished` is the last event. Without one the run was killed, or
 * its log could not be written.
 */
export const follow = (run: string): Stream.Stream<RunEvent, StoreError, Store> =>
  Stream.unwrap(Effect.map(Store, (store) => known(store.follow(run)))).pipe(
    Stream.takeUntil(({ _tag }) => _tag === "RunFinished")
  )
