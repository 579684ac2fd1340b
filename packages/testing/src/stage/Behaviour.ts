/**
 * Checks of what a stage does: results, edge cases, interruption, what it leaves.
 */
import { existsSync } from "node:fs"
import type { AnyStage, Port } from "@tessera/core"
import { plan, type PlannedNode, type RunEvent } from "@tessera/engine"
import { MemoryStore, Store } from "@tessera/store"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import { isDeepStrictEqual } from "node:util"
import { type Checks, ensure, same, tagged, Violation, violated } from "../Check.js"
import type { StageTrial } from "./Fixture.js"
import { bare, descendants, later, marking } from "./Processes.js"
import {
  close,
  NODE,
  ordered,
  type Outputs,
  outputsOf,
  sharded,
  type Trial,
  watched,
  whole
} from "./Trial.js"

export interface Conditions extends Trial, Pick<StageTrial<never, never>, "environment" | "patience"> {}

/** A year, so that a date of any coarseness shows. */
const LATER = 400 * 24 * 60 * 60 * 1000

const inStore = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.provide(effect, MemoryStore.layer))

const digests = (outputs: Outputs) =>
  Object.fromEntries(Object.entries(outputs).map(([port, { artifact }]) => [port, artifact.digest]))

/** Equal bytes, or numbers as close as the fixture allows. */
const equal = (actual: Outputs, expected: Outputs, tolerance: number | undefined, what: string) =>
  Effect.gen(function* () {
    if (isDeepStrictEqual(digests(actual), digests(expected))) return
    for (const [port, { content, artifact }] of Object.entries(expected)) {
      const other = actual[port]
      if (other === undefined) yield* violated(`${what}: there is no output ${port}`)
      else if (tolerance === undefined) {
        // The content says more than two digests.
        yield* same(other.content, content, `${what}: output ${port}`)
        yield* same(other.artifact.digest, artifact.digest, `${what}: digest of output ${port}`)
      } else if (!close(other.content, content, tolerance)) {
        yield* same(other.content, content, `${what}: output ${port}, further apart than ${tolerance}`)
      }
    }
  })

/** Processes that are there now and were not before. */
const started = (before: ReadonlyMap<number, string>) =>
  Effect.map(descendants, (now) => [...now].filter(([pid]) => !before.has(pid)).map(([, command]) => command))

const leavesNothing = (before: ReadonlyMap<number, string>, scratch: ReadonlyArray<string>, when: string) =>
  Effect.gen(function* () {
    const running = yield* started(before)
    yield* ensure(running.length === 0, `${when}: still running: ${running.join("; ")}`)
    const folders = scratch.filter(existsSync)
    yield* ensure(folders.length === 0, `${when}: its scratch folder is still there: ${folders.join(", ")}`)
  })

const allBlobs = Effect.flatMap(Store, (store) =>
  Effect.map(store.maintenance.blobs, (blobs) => new Set(blobs.map(({ digest }) => digest)))
)

/** A defect, something that is no output of the ports, or an error without a tag. */
const unacceptable = (cause: Cause.Cause<unknown>): string | undefined => {
  if (Cause.isInterrupted(cause)) return "it interrupted itself"
  const [defect] = Cause.defects(cause)
  if (defect !== undefined) return `it died: ${Cause.pretty(cause)}`
  const [error] = Cause.failures(cause)
  if (error instanceof Violation) return error.message
  const outer = tagged(error)
  if (outer?._tag !== "StageFailed") return error instanceof Error ? error.message : String(error)
  const inner = "cause" in outer ? outer.cause : undefined
  return tagged(inner) === undefined
    ? `it failed with something that has no tag: ${String(inner)}`
    : undefined
}

const variants = (subject: AnyStage, { inputs }: Trial) =>
  Object.entries(subject.spec.inputs).flatMap(([port, type]) => {
    const rows = inputs[port]
    return type.kind === "table" && Array.isArray(rows)
      ? [
          { what: `no rows in ${port}`, inputs: { ...inputs, [port]: [] } },
          { what: `one row in ${port}`, inputs: { ...inputs, [port]: rows.slice(0, 1) } }
        ]
      : []
  })

/** Every output has the kind, the contract and the content of its port. */
const declared = (outputs: Outputs, ports: Readonly<Record<string, Port>>) =>
  Effect.gen(function* () {
    yield* same(Object.keys(outputs).sort(), Object.keys(ports).sort(), "output ports")
    for (const [port, { type, artifact, content }] of Object.entries(outputs)) {
      yield* same([artifact.kind, artifact.type], [type.kind, type.id], `kind and contract of ${port}`)
      if (Array.isArray(content) && type.kind === "table")
        yield* same(artifact.rows, content.length, `rows of ${port}`)
    }
  })

/** A run that nothing disturbs: what the others are compared with. */
interface Undisturbed {
  readonly outputs: Outputs
  /** All that it put into its store. */
  readonly blobs: ReadonlySet<string>
  /** How long the stage took. */
  readonly millis: number
  /** What a plan says of the stage afterwards. */
  readonly planned: { readonly status: string; readonly reason: string } | undefined
}

/** Evaluated once, by the first check that asks. */
const once = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.runSync(Effect.cached(effect))

export const behaviourChecks = <R>(subject: AnyStage, trial: Conditions): Checks<R> => {
  const pipeline = whole(subject, trial)
  const outputs = (
    of: AnyStage = subject,
    more: Partial<Trial> = {},
    onEvent?: (event: RunEvent) => Effect.Effect<void>
  ) => outputsOf<R>(of, whole(of, { ...trial, ...more }), onEvent)

  const first: Effect.Effect<Undisturbed, unknown, R> = once(
    inStore(
      Effect.gen(function* () {
        let millis = 0
        const all = yield* outputsOf<R>(subject, pipeline, (event) =>
          Effect.sync(() => {
            if (event._tag === "TaskCommitted" && event.node === NODE) millis = event.millis
          })
        )
        const blobs = yield* allBlobs
        const nodes = yield* plan(pipeline) as Effect.Effect<ReadonlyArray<PlannedNode>, unknown, R | Store>
        return { outputs: all, blobs, millis, planned: nodes.find(({ node }) => node === NODE) }
      })
    )
  )

  const second = once(
    Effect.gen(function* () {
      // Whatever the engine itself starts is there after the first run.
      yield* Effect.ignore(first)
      yield* marking
      const before = yield* descendants
      const scratch: Array<string> = []
      const spied = watched(subject, (folder) => scratch.push(folder))
      const exit = yield* Effect.exit(inStore(Effect.zipRight(later(LATER), outputs(spied))))
      return { exit, left: yield* Effect.exit(leavesNothing(before, scratch, "after it ended")) }
    }).pipe(Effect.scoped)
  )

  const interrupted = (what: string, moment: (started: Deferred.Deferred<void>) => Effect.Effect<void>) =>
    Effect.gen(function* () {
      const { blobs } = yield* first
      const before = yield* descendants
      const scratch: Array<string> = []
      const spied = watched(subject, (folder) => scratch.push(folder))
      const running = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        outputs(spied, {}, (event) =>
          event._tag === "TaskStarted" && event.node === NODE
            ? Effect.asVoid(Deferred.succeed(running, undefined))
            : Effect.void
        )
      )
      yield* Effect.raceFirst(moment(running), Effect.asVoid(Fiber.await(fiber)))
      yield* Fiber.interrupt(fiber).pipe(
        Effect.disconnect,
        Effect.timeoutFail({
          duration: trial.patience ?? "10 seconds",
          onTimeout: () => new Violation({ detail: `${what}: it does not end` })
        })
      )
      yield* leavesNothing(before, scratch, what)
      const strange = [...(yield* allBlobs)].filter((digest) => !blobs.has(digest))
      yield* ensure(strange.length === 0, `${what}: blobs that no whole result has: ${strange.join(", ")}`)
    })

  return {
    "gives what its ports declare": Effect.flatMap(first, ({ outputs }) =>
      declared(outputs, subject.spec.outputs)
    ),

    "is served from the store when nothing changed": Effect.flatMap(first, ({ planned }) =>
      same(
        planned?.status,
        subject.spec.reproducible === "no" ? "run" : "cached",
        `what a plan says after a run (${planned?.reason})`
      )
    ),

    ...(subject.spec.reproducible === "no"
      ? {}
      : {
          "gives the same again, at another time": Effect.gen(function* () {
            const { exit } = yield* second
            yield* equal(
              yield* exit,
              (yield* first).outputs,
              trial.tolerance,
              "the same stage run a year later"
            )
          })
        }),

    "leaves no process and no scratch folder when it ends": Effect.flatMap(second, ({ left }) => left),

    "needs no working folder, home or environment, and leaves nothing there": Effect.gen(function* () {
      const { outputs: expected } = yield* first
      const { left } = yield* bare(trial.environment ?? [])
      const actual = yield* inStore(outputs())
      const files = yield* left
      yield* equal(actual, expected, trial.tolerance, "in an empty folder, without an environment")
      yield* ensure(files.length === 0, `it wrote outside of its scratch folder: ${files.join(", ")}`)
    }).pipe(Effect.scoped),

    "takes an empty table and a single row: a result or a tagged error": Effect.gen(function* () {
      for (const { what, inputs } of variants(subject, trial)) {
        const exit = yield* Effect.exit(inStore(outputs(subject, { inputs })))
        const problem = Exit.isFailure(exit) ? unacceptable(exit.cause) : undefined
        yield* ensure(problem === undefined, `${what}: ${problem}`)
        if (Exit.isSuccess(exit)) yield* declared(exit.value, subject.spec.outputs)
      }
    }),

    "leaves nothing when it is interrupted, and can be run again": Effect.gen(function* () {
      const { outputs: expected, millis } = yield* first
      yield* marking
      yield* interrupted("interrupted at its start", Deferred.await)
      yield* interrupted("interrupted on its way", (running) =>
        Effect.zipRight(Deferred.await(running), Effect.sleep(`${Math.round(millis / 2)} millis`))
      )
      yield* equal(yield* outputs(), expected, trial.tolerance, "run again after it was interrupted")
    }).pipe(inStore),

    ...(trial.each === undefined
      ? {}
      : {
          "gives the whole when run once per shard": Effect.gen(function* () {
            const { outputs: expected } = yield* first
            let shards = 0
            const parts = yield* inStore(
              outputsOf<R>(subject, sharded(subject, trial), (event) =>
                Effect.sync(() => {
                  if (event._tag === "NodeSharded") shards = event.shards.length
                })
              )
            )
            yield* ensure(shards > 1, "the fixture has one shard; give rows of two or more")
            for (const [port, { content }] of Object.entries(parts)) {
              const [one, all] = [ordered(content), ordered(expected[port]?.content)]
              if (!close(one, all, trial.tolerance ?? 0)) yield* same(one, all, `${port}, shard by shard`)
            }
          })
        })
  }
}
