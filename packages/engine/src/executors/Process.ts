/**
 * An executor that runs each execution in a child process of its own, with a clean environment: what a stage leaks,
 * crashes or hangs on ends with the child, and a GPU is free again when it is gone.
 */
import { spawn } from "node:child_process"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { extname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Store } from "@tessera/store"
import { Deferred, Duration, Effect, Exit, Option, Runtime, Schema, type Scope } from "effect"
import { at } from "../Commit.js"
import { EngineError } from "../Errors.js"
import type { Executor, Failure } from "../Executor.js"
import { JobProgress, JobResult, Job, type Outputs } from "../Job.js"
import { fromResult } from "../JobFailure.js"
import { place } from "../Produce.js"
import { PARENT, resultFile } from "../Worker.js"

export interface Options {
  /**
   * Program and arguments that do the job whose file is appended. Default: this program's Node with the engine's own
   * worker; the command line gives `tessera job`.
   */
  readonly command: readonly [program: string, ...args: ReadonlyArray<string>]
  /** Variables besides those that every child gets. */
  readonly env?: Readonly<Record<string, string>>
  /** Between asking a child to end and killing it; default 5 seconds. */
  readonly grace?: Duration.DurationInput
}

/** What a program needs to start and to find its files; nothing that a shell happened to have. */
const PASSED =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR|NODE_PATH|LD_LIBRARY_PATH|VIRTUAL_ENV|TESSERA_.*)$/
/** Lines of a child's stderr that an error shows. */
const TAIL = 20

/** The environment of a child: a task sees the GPUs that it holds, and no others. */
export const environment = (
  job: Pick<Job, "slots">,
  extra: Readonly<Record<string, string>> = {}
): Record<string, string> => ({
  ...Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      PASSED.test(name) && value !== undefined ? [[name, value]] : []
    )
  ),
  ...extra,
  [PARENT]: "1",
  CUDA_VISIBLE_DEVICES: (job.slots["gpu"] ?? []).join(",")
})

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
}

/** The child with all that it started: it leads a process group of its own. */
const killGroup = (pid: number, signal: NodeJS.Signals) => {
  try {
    process.kill(-pid, signal)
  } catch {
    // All of them have ended.
  }
}

/** Starts the child; closing the scope ends it and its group. Its stdin stays open as long as this process lives. */
const start = (
  { command: [program, ...args], env, grace = Duration.seconds(5) }: Options,
  file: string,
  job: Job,
  onLine: (line: string) => void
): Effect.Effect<Deferred.Deferred<Ended, Error>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const ended = yield* Deferred.make<Ended, Error>()
    const settle = (exit: Exit.Exit<Ended, Error>) => Deferred.unsafeDone(ended, exit)
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(program, [...args, file], {
          detached: true,
          env: environment(job, env),
          stdio: ["pipe", "pipe", "pipe"]
        })
        const lines: Array<string> = []
        createInterface({ input: child.stderr }).on("line", (line) => {
          lines.push(line)
          if (lines.length > TAIL) lines.shift()
        })
        createInterface({ input: child.stdout }).on("line", onLine)
        child.stdin.on("error", () => undefined)
        child.on("error", (cause) => settle(Exit.fail(cause)))
        child.on("close", (code, signal) => settle(Exit.succeed({ code, signal, stderr: lines.join("\n") })))
        return child
      }),
      (child) =>
        Effect.gen(function* () {
          const { pid } = child
          if (pid === undefined) return
          if (child.exitCode === null && child.signalCode === null) {
            killGroup(pid, "SIGTERM")
            yield* Effect.timeoutOption(Effect.exit(Deferred.await(ended)), grace)
          }
          // Also what a child that ended well left running.
          killGroup(pid, "SIGKILL")
          yield* Effect.exit(Deferred.await(ended))
        })
    )
    return ended
  })

const decodeProgress = Schema.decodeOption(Schema.parseJson(JobProgress))
const encodeJob = Schema.encodeSync(Schema.parseJson(Job, { space: 2 }))
const decodeResult = Schema.decodeUnknownOption(Schema.parseJson(JobResult))

const why = ({ code, signal, stderr }: Ended): string => {
  const how =
    signal === null
      ? `ended with exit code ${code}`
      : `was killed by ${signal}${signal === "SIGKILL" ? " (out of memory? by hand?)" : ""}`
  return `the process that ran it ${how} and left no result${stderr === "" ? "" : `; its last words:\n${stderr}`}`
}

const execute = <E>(
  options: Options,
  job: Job,
  report: (progress: typeof JobProgress.Type) => Effect.Effect<void>
): Effect.Effect<Outputs, Failure<E>, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const folder = yield* store.scratch
    const file = join(folder, "job.json")
    const where = at(job.node, job.shard)
    const lost = (detail: string, cause?: unknown) =>
      new EngineError({ reason: "Lost", where: place(where), detail, cause })
    // Within this scope's folder, so that it goes with it, however the child ends.
    const scratch = join(folder, "scratch")
    yield* Effect.tryPromise({
      try: async () => {
        await mkdir(scratch)
        await writeFile(file, encodeJob({ ...job, scratch }))
      },
      catch: (cause) => lost(`its job file cannot be written to ${file}`, cause)
    })
    const runFork = Runtime.runFork(yield* Effect.runtime())
    const child = yield* start(options, file, job, (line) => {
      const progress = decodeProgress(line)
      if (Option.isSome(progress)) runFork(report(progress.value))
    })
    const ended = yield* Effect.mapError(Deferred.await(child), (cause) =>
      lost(`the program ${options.command[0]} cannot be started: ${cause.message}`, cause)
    )
    const text = yield* Effect.option(Effect.tryPromise(() => readFile(resultFile(file), "utf8")))
    const result = Option.flatMap(text, decodeResult)
    if (Option.isNone(result)) return yield* lost(why(ended))
    if (result.value._tag === "Succeeded") return result.value.outputs
    return yield* Effect.fail(fromResult<E>(where, result.value))
  }).pipe(Effect.scoped)

/** This program again, with the engine's own worker. */
const ownWorker = (): Options["command"] => [
  process.execPath,
  ...process.execArgv,
  fileURLToPath(new URL(`../jobMain${extname(import.meta.url)}`, import.meta.url))
]

export const make = ({ command = ownWorker(), ...options }: Partial<Options> = {}): Executor => ({
  name: "process",
  run: ({ job, report }) => Effect.flatMap(job, (found) => execute({ ...options, command }, found, report))
})
