/** Runs the pipeline of children in the store and with the notes that the command line names. */
import { Process, run } from "@tessera/engine"
import { FileStore } from "@tessera/store"
import { Effect } from "effect"
import children from "./pipeline.js"

const [, , root = "", notes = "", does = ""] = process.argv
const module = new URL("pipeline.ts", import.meta.url).href
const fiber = Effect.runFork(
  run(children, { params: { notes, does }, module, slots: { gpu: 1 }, executors: [Process.make()] }).pipe(
    Effect.provide(FileStore.layer({ root }))
  )
)
process.once("SIGTERM", () => fiber.unsafeInterruptAsFork(fiber.id()))
fiber.addObserver((exit) => process.exit(exit._tag === "Success" ? 0 : 1))
