/**
 * One worker: started, greeted, asked one thing at a time, watched, and ended with its scope.
 */
import { CurrentTask } from "@tessera/core"
import type { RuntimeError } from "@tessera/runtime"
import {
  Deferred,
  Duration,
  Effect,
  Either,
  Option,
  ParseResult,
  Runtime,
  Schedule,
  Schema,
  type Scope
} from "effect"
import * as ChildProcess from "./ChildProcess.js"
import { failed } from "./Errors.js"
import {
  type Fatal,
  type Hello,
  Line,
  type Method,
  methods,
  type Params,
  PROTOCOL,
  type Refusal,
  type Result,
  type WorkerProgress
} from "./Protocol.js"

export interface Patience {
  /** From the start to the greeting: importing PyTorch from a cold disk takes a while. Default: 5 minutes. */
  readonly greeting?: Duration.DurationInput
  /** Without a sign of life. Default: 60 seconds. */
  readonly alive?: Duration.DurationInput
  /** Without progress of what was asked. Default: 10 minutes on a GPU, an hour on a CPU. */
  readonly stall?: Duration.DurationInput
  /** After an interruption, until what was asked has stopped. Default: 10 seconds. */
  readonly cancel?: Duration.DurationInput
  /** Between asking the worker to end and killing it. Default: 5 seconds. */
  readonly end?: Duration.DurationInput
}

export interface Start extends Pick<ChildProcess.Command, "program" | "args" | "cwd" | "env"> {
  readonly patience: Patience
}

export interface Worker {
  readonly hello: Hello
  readonly pid: number | undefined
  /** Whether it can still be asked. */
  readonly alive: Effect.Effect<boolean>
  /** Asks, after all that was asked before; interrupted, it stops the worker's work too. */
  readonly ask: <M extends Method>(method: M, params: Params<M>) => Effect.Effect<Result<M>, RuntimeError>
}

const INSTALL =
  "make an environment with `tessera doctor --install torch`, or name a Python that has all of it in TESSERA_PYTHON"

const told = (words: string): string => (words === "" ? "" : `; its last words:\n${words}`)

/** One that ends by itself before it greets would do so again. */
const died = ({ code, signal }: ChildProcess.Ended, greeted: boolean, words: string): RuntimeError =>
  failed(
    greeted || signal !== null ? "WorkerDied" : "Unavailable",
    `the worker ${
      signal === null
        ? `ended with exit code ${code}`
        : `was killed by ${signal}${signal === "SIGKILL" ? " (out of memory? by hand?)" : ""}`
    }${told(words)}`
  )

const fatal = (program: string, { reason, detail }: Fatal): RuntimeError =>
  failed(
    "Unavailable",
    reason === "NoDevice" ? detail : `${program} cannot run the worker: ${detail}; ${INSTALL}`
  )

const refusal = ({ reason, detail }: Refusal): RuntimeError =>
  failed(
    reason === "InvalidModel" ? "InvalidRequest" : reason === "Interrupted" ? "Execution" : reason,
    detail
  )

/** What is being asked now. */
interface Asked {
  readonly id: number
  readonly answer: Deferred.Deferred<unknown, RuntimeError>
  readonly report: (progress: WorkerProgress) => void
}

const decodeLine = Schema.decodeUnknownEither(Schema.parseJson(Line))

/** A method's schemas: the table's types say that they belong together. */
const schemasOf = <M extends Method>(method: M) =>
  methods[method] as unknown as {
    readonly params: Schema.Schema<Params<M>>
    readonly result: Schema.Schema<Result<M>>
  }

/** Starts a worker. Fails with `Unavailable` where it cannot run at all, `WorkerDied` or `Hung` where it does not come up. */
export const start = ({
  program,
  args,
  cwd,
  env,
  patience
}: Start): Effect.Effect<Worker, RuntimeError, Scope.Scope> =>
  Effect.gen(function* () {
    const greeting = yield* Deferred.make<Hello, RuntimeError>()
    /** Why nothing can be asked any more. */
    const over = yield* Deferred.make<never, RuntimeError>()
    let asked: Asked | undefined
    const clock = yield* Effect.clock
    let lastSign = clock.unsafeCurrentTimeNanos()
    let lastProgress = lastSign
    let greeted = false
    const end = (error: RuntimeError) => Deferred.unsafeDone(over, Effect.fail(error))

    const take = (line: Line): void => {
      if ("alive" in line) return
      if ("fatal" in line) return end(fatal(program, line.fatal))
      if ("hello" in line) {
        const { hello } = line
        if (hello.protocol !== PROTOCOL || !("torch" in hello)) {
          return end(
            failed(
              "Unavailable",
              `the worker speaks protocol ${hello.protocol}, this version ${PROTOCOL}; install both from one release`
            )
          )
        }
        greeted = true
        return Deferred.unsafeDone(greeting, Effect.succeed(hello))
      }
      if ("error" in line && line.id === null)
        return end(failed("Execution", `the worker understood nothing: ${line.error.detail}`))
      // The answer to something cancelled comes late.
      if (line.id !== asked?.id) return
      lastProgress = lastSign
      if ("progress" in line) return asked.report(line.progress)
      Deferred.unsafeDone(
        asked.answer,
        "result" in line ? Effect.succeed(line.result) : Effect.fail(refusal(line.error))
      )
    }
    const child = yield* ChildProcess.start({
      program,
      args,
      env,
      grace: patience.end ?? Duration.seconds(5),
      ...(cwd === undefined ? {} : { cwd }),
      onLine: (text) => {
        lastSign = clock.unsafeCurrentTimeNanos()
        Either.match(decodeLine(text), {
          onLeft: () =>
            end(
              failed(
                "Execution",
                `the worker wrote a line that is not of its protocol: ${JSON.stringify(text.slice(0, 200))}`
              )
            ),
          onRight: take
        })
      }
    })
    yield* child.ended.pipe(
      Effect.matchEffect({
        onFailure: (cause) =>
          Effect.sync(() =>
            end(failed("Unavailable", `${program} cannot be started: ${cause.message}; ${INSTALL}`, cause))
          ),
        onSuccess: (ended) => Effect.map(child.lastWords, (words) => end(died(ended, greeted, words)))
      }),
      Effect.forkScoped
    )

    // Whatever is wrong with it, it must not keep its GPU.
    yield* Effect.exit(Deferred.await(over)).pipe(Effect.zipRight(child.end), Effect.forkScoped)

    const hung = (detail: string) =>
      Effect.map(child.lastWords, (words) => end(failed("Hung", `${detail}; it was killed${told(words)}`)))
    const wait = Duration.decode(patience.greeting ?? "5 minutes")
    const hello = yield* Effect.raceFirst(Deferred.await(greeting), Deferred.await(over)).pipe(
      Effect.timeoutTo({
        duration: wait,
        onSuccess: (hello): Effect.Effect<Hello, RuntimeError> => Effect.succeed(hello),
        onTimeout: () =>
          Effect.zipRight(
            hung(`the worker did not greet within ${Duration.format(wait)}`),
            Deferred.await(over)
          )
      }),
      Effect.flatten
    )

    const alive = Duration.decode(patience.alive ?? "60 seconds")
    const stall = Duration.decode(patience.stall ?? (hello.devices.length > 0 ? "10 minutes" : "1 hour"))
    const watch = Effect.gen(function* () {
      const now = clock.unsafeCurrentTimeNanos()
      if (Duration.greaterThan(Duration.nanos(now - lastSign), alive))
        return yield* hung(`the worker gave no sign of life for ${Duration.format(alive)}`)
      if (asked !== undefined && Duration.greaterThan(Duration.nanos(now - lastProgress), stall))
        return yield* hung(
          `the worker made no progress for ${Duration.format(stall)}: a hung kernel, or more work than a step should have`
        )
    })
    const tick = Duration.min(Duration.seconds(1), Duration.times(Duration.min(alive, stall), 0.25))
    yield* watch.pipe(
      Effect.repeat({
        schedule: Schedule.spaced(tick),
        until: () => Deferred.isDone(over)
      }),
      Effect.forkScoped
    )

    const one = yield* Effect.makeSemaphore(1)
    let ids = 0
    const stop = (id: number, answer: Asked["answer"]) =>
      child.write(JSON.stringify({ cancel: id })).pipe(
        Effect.zipRight(
          ChildProcess.atMost(
            Effect.exit(Effect.raceFirst(Deferred.await(answer), Deferred.await(over))),
            patience.cancel ?? "10 seconds"
          )
        ),
        Effect.flatMap((stopped) =>
          Option.isSome(stopped)
            ? Effect.void
            : Effect.zipRight(hung("the worker did not stop what was interrupted"), child.end)
        )
      )
    return {
      hello,
      pid: child.pid,
      alive: Effect.map(Deferred.isDone(over), (done) => !done),
      ask: (method, params) =>
        Effect.gen(function* () {
          const task = yield* CurrentTask
          const runFork = Runtime.runFork(yield* Effect.runtime())
          const schemas = schemasOf(method)
          const id = ++ids
          const answer = yield* Deferred.make<unknown, RuntimeError>()
          lastProgress = clock.unsafeCurrentTimeNanos()
          asked = {
            id,
            answer,
            report: ({ total, ...progress }) => {
              if (task !== undefined)
                runFork(task.report({ ...progress, ...(total == null ? {} : { total }) }))
            }
          }
          yield* child.write(
            JSON.stringify({ id, method, params: Schema.encodeSync(schemas.params)(params) })
          )
          const found = yield* Effect.raceFirst(Deferred.await(answer), Deferred.await(over)).pipe(
            Effect.onInterrupt(() => stop(id, answer)),
            Effect.ensuring(Effect.sync(() => (asked = undefined)))
          )
          return yield* Schema.decodeUnknown(schemas.result)(found).pipe(
            Effect.mapError((cause) =>
              failed(
                "Execution",
                `the worker's answer to ${method} is not of its protocol: ${ParseResult.TreeFormatter.formatErrorSync(cause)}`
              )
            )
          )
        }).pipe(one.withPermits(1))
    }
  })
