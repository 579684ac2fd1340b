/**
 * The other end of an executor: does the job of a file and leaves the result in a file beside it.
 */
import { readFile, rename, writeFile } from "node:fs/promises"
import type { Store } from "@tessera/store"
import { Effect, Schema } from "effect"
import { EngineError } from "./Errors.js"
import { Job, JobProgress, JobResult } from "./Job.js"
import { runJob } from "./RunJob.js"

const decode = Schema.decodeUnknown(Schema.parseJson(Job))
const encodeResult = Schema.encodeSync(Schema.parseJson(JobResult))
const encodeProgress = Schema.encodeSync(Schema.parseJson(JobProgress))

/** Set by an executor whose end closes the worker's stdin: the worker must not outlive it. */
export const PARENT = "TESSERA_JOB_PARENT"

/** Where the result of a job's file is left. */
export const resultFile = (file: string): string => `${file.replace(/\.json$/, "")}.result.json`

/** Ends when the parent is gone; never ends where there is none to watch. */
const parentGone: Effect.Effect<void> = Effect.async<void>((resume) => {
  if (process.env[PARENT] === undefined) return
  const gone = () => resume(Effect.void)
  process.stdin.on("end", gone).on("error", gone).resume()
})

/** This process leads its group: what a stage started goes with it. */
const endGroup = Effect.sync(() => {
  try {
    process.kill(-process.pid, "SIGKILL")
  } catch {
    process.exit(1)
  }
})

export const readJob = (file: string): Effect.Effect<Job, EngineError> =>
  Effect.tryPromise(() => readFile(file, "utf8")).pipe(
    Effect.flatMap(decode),
    Effect.mapError(
      (cause) =>
        new EngineError({
          reason: "Job",
          where: file,
          detail: `is not a job that this version can do: ${cause.message}`,
          cause
        })
    )
  )

const leave = (job: Job, file: string): Effect.Effect<void, EngineError, Store> =>
  Effect.gen(function* () {
    const result = yield* runJob(job, (progress) =>
      Effect.sync(() => void process.stdout.write(`${encodeProgress(progress)}\n`))
    )
    const [partial, answer] = [`${file}.partial`, resultFile(file)]
    yield* Effect.tryPromise({
      try: async () => {
        await writeFile(partial, encodeResult(result))
        await rename(partial, answer)
      },
      catch: (cause) =>
        new EngineError({ reason: "Job", where: answer, detail: "the result cannot be written", cause })
    })
  })

/** Progress goes to stdout, a JSON line each. */
export const work = (job: Job, file: string): Effect.Effect<void, EngineError, Store> =>
  Effect.withFiberRuntime<void, EngineError, Store>((self) =>
    Effect.zipRight(
      Effect.forkScoped(Effect.map(parentGone, () => self.unsafeInterruptAsFork(self.id()))),
      leave(job, file)
    ).pipe(
      Effect.scoped,
      Effect.onInterrupt(() => (process.env[PARENT] === undefined ? Effect.void : endGroup))
    )
  )
