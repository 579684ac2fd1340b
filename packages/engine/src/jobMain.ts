/**
 * The program of a child process that does one job: `node worker.js job.json`. The `tessera job` command is the same with
 * the loader and the store of the command line.
 */
import { FileStore } from "@tessera/store"
import { Effect, Exit } from "effect"
import { readJob, work } from "./Worker.js"

const file = process.argv[2] ?? ""
const fiber = Effect.runFork(
  Effect.flatMap(readJob(file), (job) =>
    Effect.provide(work(job, file), FileStore.layer({ root: job.store }))
  )
)
process.once("SIGTERM", () => fiber.unsafeInterruptAsFork(fiber.id()))
fiber.addObserver((exit) => {
  if (Exit.isFailure(exit)) console.error(String(exit.cause))
  process.exit(Exit.isSuccess(exit) ? 0 : 1)
})
