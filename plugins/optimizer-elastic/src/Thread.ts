/**
 * HiGHS (npm `highs`, WebAssembly) in a thread of its own: a run neither holds up the process nor outlives its time or
 * its caller.
 */
import { createRequire } from "node:module"
import { Worker } from "node:worker_threads"
import { Effect, Option, type Scope } from "effect"
import type { Highs, ModelData } from "highs"
import { OptimizerError } from "./Errors.js"

export interface Task {
  readonly model: ModelData
  readonly options: Readonly<Record<string, boolean | number | string>>
  /** A solution to begin with. */
  readonly start: Float64Array | undefined
}

/** A solution better than those before, told while the run goes on. */
export interface Better {
  readonly objective: number
  readonly bound: number
  readonly x: Float64Array
}

export interface Ended {
  /** Of `highs.constants.modelStatus`. */
  readonly status: keyof Highs["constants"]["modelStatus"]
  /** Whether there is a solution. */
  readonly feasible: boolean
  readonly objective: number
  /** Of a program with whole columns. */
  readonly bound: number
  readonly solution: {
    readonly colValue: Float64Array
    readonly colDual: Float64Array
    readonly rowDual: Float64Array
  }
}

/** A run that was broken off, and the best solution it had told of. */
export interface Stopped {
  readonly status: "stopped"
  readonly best: Better | undefined
}

type Reply =
  | { readonly ready: string }
  | { readonly better: Better }
  | { readonly ended: Ended }
  | { readonly failed: string }

// A text, not a module: a thread does not inherit the loader of TypeScript, and this runs compiled or not.
const program = `
const { parentPort, workerData } = require("node:worker_threads")
const said = (error) => String((error && error.message) || error)
const run = (highs, { model, options, start }) =>
  highs.withModel(model, (run) => {
    const { callbackType, modelStatus, solutionStatus } = highs.constants
    run.options.set(options)
    if (start !== undefined) run.setSolution({ colValue: start })
    run.run({
      [callbackType.mipImprovingSolution]: ({ data }) => {
        const { mip_dual_bound: bound, mip_solution: x, objective_function_value: objective } = data
        parentPort.postMessage({ better: { objective, bound, x } })
      }
    })
    const status = run.getModelStatus()
    const { colValue, colDual, rowDual } = run.getSolution()
    return {
      status: Object.keys(modelStatus).find((name) => modelStatus[name] === status),
      feasible: run.info.get("primal_solution_status") === solutionStatus.feasible,
      objective: run.getObjectiveValue(),
      bound: Number(run.info.get("mip_dual_bound")),
      solution: { colValue, colDual, rowDual }
    }
  })
const answer = (work) => {
  try {
    parentPort.postMessage(work())
  } catch (error) {
    parentPort.postMessage({ failed: said(error) })
  }
}
const loaded = require(workerData)()
parentPort.on("message", (task) =>
  loaded.then(
    (highs) =>
      answer(() => (task === "hello" ? { ready: "HiGHS " + highs.version.string } : { ended: run(highs, task) })),
    (error) => answer(() => ({ failed: said(error) }))
  )
)
`

export interface Thread {
  /** The solver's name and version. */
  readonly version: string
  /**
   * Runs one task; tasks wait for each other. One that takes longer than `seconds` is broken off, and so is one that is
   * interrupted: the thread ends, and the next task gets another.
   */
  readonly run: (task: Task, seconds: number) => Effect.Effect<Ended | Stopped, OptimizerError>
}

const failed = (detail: string, cause?: unknown) => new OptimizerError({ reason: "Solver", detail, cause })

/** Sends a message and listens until `use` makes an answer of what the thread says; one that dies says so. */
const ask = <A>(
  worker: Worker,
  message: Task | "hello",
  use: (reply: Reply) => Effect.Effect<A, OptimizerError> | undefined
): Effect.Effect<A, OptimizerError> =>
  Effect.async((resume) => {
    const settle = (answer: Effect.Effect<A, OptimizerError>) => {
      stop()
      resume(answer)
    }
    const heard = (reply: Reply) => {
      const answer = "failed" in reply ? Effect.fail(failed(`HiGHS failed: ${reply.failed}`)) : use(reply)
      if (answer !== undefined) settle(answer)
    }
    const threw = (cause: Error) => settle(Effect.fail(failed(`HiGHS failed: ${cause.message}`, cause)))
    const left = (code: number) =>
      settle(Effect.fail(failed(`the thread of HiGHS ended by itself, with code ${code}`)))
    const stop = () => worker.off("message", heard).off("error", threw).off("exit", left)
    worker.on("message", heard).on("error", threw).on("exit", left)
    // One that has ended already would never answer.
    if (worker.threadId < 0) left(1)
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    else worker.postMessage(message)
    return Effect.sync(stop)
  })

// The import is for keys: a package that only the thread's text names would not count as part of the stage's code.
const locate: Effect.Effect<string, OptimizerError> = Effect.tryPromise({
  try: async () => {
    await import("highs")
    return createRequire(import.meta.url).resolve("highs")
  },
  catch: (cause) => failed("the HiGHS solver (npm package highs) could not be loaded", cause)
})

/** A thread that ends with the scope, even amid a run. */
export const makeThread: Effect.Effect<Thread, OptimizerError, Scope.Scope> = Effect.gen(function* () {
  const path = yield* locate
  const turn = yield* Effect.makeSemaphore(1)
  let current: { readonly worker: Worker; readonly version: string } | undefined

  const end = (worker: Worker) => Effect.promise(() => worker.terminate())
  const create = Effect.sync(() => {
    const worker = new Worker(program, { eval: true, execArgv: [], env: {}, workerData: path })
    // Whoever waits hears of errors; one that nobody waits for must not end the process.
    worker.on("error", () => undefined)
    return worker.once("exit", () => {
      if (current?.worker === worker) current = undefined
    })
  })
  const start = Effect.acquireUseRelease(
    create,
    (worker) =>
      ask(worker, "hello", (reply) => ("ready" in reply ? Effect.succeed(reply.ready) : undefined)).pipe(
        Effect.tap((version) => Effect.sync(() => (current = { worker, version })))
      ),
    (worker) => Effect.suspend(() => (current?.worker === worker ? Effect.void : end(worker)))
  )
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => (current === undefined ? Effect.void : end(current.worker)))
  )
  const version = yield* start

  const run = (task: Task, seconds: number) =>
    Effect.gen(function* () {
      if (current === undefined) yield* start
      const worker = current?.worker
      if (worker === undefined) return yield* failed("the thread of HiGHS could not be started")
      let best: Better | undefined
      const answer = ask(worker, task, (reply) => {
        if ("better" in reply) best = reply.better
        return "ended" in reply ? Effect.succeed(reply.ended) : undefined
      })
      // Whatever threw may have left the solver unusable (out of memory, an abort).
      const ended = yield* Effect.onExit(Effect.timeoutOption(answer, seconds * 1000), (exit) =>
        exit._tag === "Success" && Option.isSome(exit.value) ? Effect.void : end(worker)
      )
      return Option.getOrElse(ended, (): Stopped => ({ status: "stopped", best }))
    })
  return { version, run: (task, seconds) => turn.withPermits(1)(run(task, seconds)) }
})
