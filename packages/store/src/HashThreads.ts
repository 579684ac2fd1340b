/**
 * Digests of large files, in threads: one core hashes about 1 GiB/s, and the thread that runs the pipeline must stay
 * free to show that its leases live.
 */
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import { Effect, Exit } from "effect"

export interface FileDigest {
  readonly digest: string
  /** Bytes read. */
  readonly size: number
}

type Answer = FileDigest | { readonly code?: string; readonly message: string }

// A text, not a module: a thread does not inherit the loader of TypeScript, and this runs compiled or not.
const program = `
const { createHash } = require("node:crypto")
const { closeSync, openSync, readSync } = require("node:fs")
const { parentPort } = require("node:worker_threads")
const buffer = Buffer.allocUnsafe(1 << 20)
parentPort.on("message", (path) => {
  try {
    const hash = createHash("sha256")
    const file = openSync(path, "r")
    let size = 0
    try {
      for (let n; (n = readSync(file, buffer, 0, buffer.length, null)) > 0; size += n)
        hash.update(n === buffer.length ? buffer : buffer.subarray(0, n))
    } finally {
      closeSync(file)
    }
    parentPort.postMessage({ digest: "sha256:" + hash.digest("hex"), size })
  } catch ({ code, message }) {
    parentPort.postMessage({ code, message })
  }
})
`

/** Threads at once; more than this would wait for the disk. */
const THREADS = Math.min(availableParallelism(), 16)

const turn = Effect.unsafeMakeSemaphore(THREADS)
const idle: Array<Worker> = []

const ask = (worker: Worker, path: string): Effect.Effect<FileDigest, Error> =>
  Effect.async((resume) => {
    const answered = (answer: Answer) => {
      worker.off("error", failed)
      resume(
        "digest" in answer
          ? Effect.succeed(answer)
          : Effect.fail(Object.assign(new Error(answer.message), { code: answer.code }))
      )
    }
    const failed = (cause: Error) => {
      worker.off("message", answered)
      resume(Effect.fail(cause))
    }
    worker.once("message", answered)
    worker.once("error", failed)
    worker.ref()
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    worker.postMessage(path)
  })

/** Fails with the error of the file system. */
export const digest = (path: string): Effect.Effect<FileDigest, Error> =>
  turn.withPermits(1)(
    Effect.acquireUseRelease(
      Effect.sync(() => idle.pop() ?? new Worker(program, { eval: true, execArgv: [], env: {} })),
      (worker) => ask(worker, path),
      (worker, exit) => {
        if (!Exit.isSuccess(exit)) return Effect.promise(() => worker.terminate())
        // An idle thread must not keep the process alive.
        worker.unref()
        idle.push(worker)
        return Effect.void
      }
    )
  )
