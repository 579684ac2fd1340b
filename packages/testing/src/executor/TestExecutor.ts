/**
 * The contract of an executor: it gives what this process would give, and ends all it started.
 */
import { existsSync } from "node:fs"
import { type Executor, inline, run, type RunEvent, type RunOptions, type RunResult } from "@tessera/engine"
import { MemoryStore, Store } from "@tessera/store"
import { Deferred, type Duration, Effect, Exit, Fiber, Schema } from "effect"
import { type Checks, ensure, register, same, Violation, violated } from "../Check.js"
import { descendants, marking } from "../stage/Processes.js"
import pipeline, { MODULE, PARTS, WORK } from "./Pipeline.js"

export interface ExecutorFixture {
  readonly executor: Executor
  /** How long it may take to end when interrupted. Default 20 seconds. */
  readonly patience?: Duration.DurationInput
}

const Told = Schema.decodeUnknown(
  Schema.parseJson(
    Schema.Struct({ pid: Schema.Number, scratch: Schema.String, bench: Schema.Array(Schema.String) })
  )
)

const WHOLE = ["numbers", "sum", "files"]

const start = (executor: Executor, does: string, options: RunOptions = {}) =>
  run(pipeline, {
    params: { does },
    targets: WHOLE,
    module: MODULE,
    executors: [executor],
    executor: {
      [WORK]: executor.name,
      ...(options.targets?.includes("parts") ? { [PARTS]: executor.name } : {})
    },
    slots: { bench: ["b-7"] },
    retries: 0,
    ...options
  })

const inStore = <A, E>(effect: Effect.Effect<A, E, Store>) => Effect.provide(effect, MemoryStore.layer)

const digests = ({ targets }: RunResult) =>
  Object.fromEntries(Object.entries(targets).map(([name, { digest }]) => [name, digest]))

/** What the stage tells of where it runs. */
const hearing = () => {
  const events: Array<RunEvent> = []
  return {
    onEvent: (event: RunEvent) => Effect.sync(() => void events.push(event)),
    told: Effect.suspend(() =>
      Effect.forEach(
        events.flatMap((event) =>
          event._tag === "TaskProgress" && event.node === WORK ? [event.label] : []
        ),
        (label) => Told(label)
      )
    )
  }
}

export const executorChecks = ({ executor, patience = "20 seconds" }: ExecutorFixture): Checks => ({
  "gives the artifacts that this process gives, whole and shard by shard": Effect.gen(function* () {
    const targets = [...WHOLE, "parts"]
    const expected = yield* inStore(start(inline, "work", { targets }))
    const actual = yield* inStore(start(executor, "work", { targets }))
    yield* same(digests(actual), digests(expected), "digests of the targets")
    yield* same(actual.executed, expected.executed, "executions")
  }),

  "leaves its results in the store, where any other executor finds them": Effect.gen(function* () {
    const first = yield* start(executor, "work")
    const again = yield* start({ ...inline, name: "another" }, "work")
    yield* same(again.executed, 0, "executions after all was there")
    yield* same(digests(again), digests(first), "digests")
    const store = yield* Store
    for (const { digest } of Object.values(first.targets)) yield* store.maintenance.verify(digest)
  }).pipe(inStore),

  "tells progress, and lends an empty folder and the slots that were granted": Effect.gen(function* () {
    const { onEvent, told } = hearing()
    yield* start(executor, "work", { onEvent })
    const [first] = yield* told
    if (first === undefined) return yield* violated("no progress was heard")
    yield* same(first.bench, ["b-7"], "the slots that the stage was told of")
    yield* ensure(!existsSync(first.scratch), `the scratch folder ${first.scratch} is still there`)
  }).pipe(inStore),

  "tells a stage's failure with its tag, its message and its fields": Effect.gen(function* () {
    const error = yield* Effect.flip(start(executor, "fail"))
    const { cause } = error as { readonly cause?: { readonly _tag?: string; readonly code?: number } }
    yield* same([error._tag, cause?._tag, cause?.code], ["StageFailed", "Refused", 400], "the failure")
    yield* ensure(error.message.endsWith("failed: no"), `the message is ${error.message}`)
  }).pipe(inStore),

  "tells what a stage throws as a defect of the stage": Effect.gen(function* () {
    const error = yield* Effect.flip(start(executor, "throw"))
    const reason = "reason" in error ? error.reason : undefined
    yield* same([error._tag, reason], ["EngineError", "Defect"], `the failure (${error.message})`)
  }).pipe(inStore),

  "ends all that it started when it is interrupted, commits nothing, and can be asked again": Effect.gen(
    function* () {
      yield* marking
      // Whatever the engine itself starts is there after a first run.
      yield* inStore(start(inline, "work"))
      const before = yield* descendants
      const { onEvent, told } = hearing()
      const waiting = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        start(executor, "wait", {
          onEvent: (event) =>
            Effect.zipRight(
              onEvent(event),
              event._tag === "TaskProgress" && event.done === 2
                ? Deferred.succeed(waiting, undefined)
                : Effect.void
            )
        })
      )
      yield* Effect.raceFirst(Deferred.await(waiting), Fiber.await(fiber))
      yield* Fiber.interrupt(fiber).pipe(
        Effect.disconnect,
        Effect.timeoutFail({
          duration: patience,
          onTimeout: () => new Violation({ detail: "it does not end when it is interrupted" })
        })
      )
      const running = [...(yield* descendants)]
        .filter(([pid]) => !before.has(pid))
        .map(([, command]) => command)
      yield* ensure(running.length === 0, `still running: ${running.join("; ")}`)
      const places = yield* told
      yield* ensure(places.length > 0, "the stage was interrupted before it told anything")
      for (const { scratch } of places)
        yield* ensure(!existsSync(scratch), `the scratch folder ${scratch} is still there`)
      const again = yield* Effect.exit(start(executor, "work"))
      if (Exit.isFailure(again)) yield* violated("it cannot be asked again", again.cause)
    }
  ).pipe(Effect.scoped, inStore)
})

/** Registers the checks as vitest tests. */
export const testExecutor = (name: string, fixture: ExecutorFixture): void =>
  register(`the executor ${name}`, executorChecks(fixture), { timeout: 120_000 })
