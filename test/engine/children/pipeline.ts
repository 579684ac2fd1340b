/** Stages that tell where they run, die, hang, leak a grandchild or fail. */
import { spawn } from "node:child_process"
import { appendFileSync, existsSync, writeFileSync } from "node:fs"
import { document, pipeline, stage } from "@tessera/core"
import { Data, Effect, Schema } from "effect"

export const Told = document(
  "Told/1",
  Schema.Struct({ pid: Schema.Number, env: Schema.Record({ key: Schema.String, value: Schema.String }) })
)

class Refused extends Data.TaggedError("Refused")<{ readonly code: number; readonly message: string }> {}

const note = (file: string, what: string) => appendFileSync(file, `${what}\n`)

export const child = stage("child", {
  version: "1",
  module: import.meta.url,
  inputs: {},
  outputs: { told: Told },
  params: Schema.Struct({
    /** Where executions note themselves. */
    notes: Schema.String,
    does: Schema.Literal("tell", "die once", "die", "hang", "fail", "throw", "be busy")
  }),
  resources: { gpu: 1 },
  reproducible: "no",
  executor: "process",
  run: (_, { does, notes }, task) =>
    Effect.gen(function* () {
      writeFileSync(`${task.scratch}/partial`, "")
      note(notes, `${does} ${process.pid}`)
      switch (does) {
        case "tell":
          yield* task.report({ done: 1, total: 2, unit: "halves", label: "told" })
          break
        case "die once":
          if (existsSync(`${notes}.died`)) break
          writeFileSync(`${notes}.died`, "")
          process.stderr.write("these are my last words\n")
          process.kill(process.pid, "SIGKILL")
          return yield* Effect.never
        case "die":
          process.exit(7)
        // oxlint-disable-next-line no-fallthrough -- the process has ended
        case "hang": {
          const grandchild = spawn("sleep", ["600"], { stdio: "ignore" })
          note(notes, `grandchild ${grandchild.pid}`)
          return yield* Effect.never
        }
        case "fail":
          return yield* new Refused({ code: 400, message: "no" })
        case "be busy":
          return yield* new Refused({ code: 503, message: "busy" })
        case "throw":
          throw new TypeError("a bug")
      }
      const env = Object.fromEntries(
        Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
      )
      return { told: { pid: process.pid, env } }
    }),
  retry: { transient: (error) => error.code === 503, times: 1, pause: "1 millis" }
})

export default pipeline(
  "children",
  Schema.Struct({ notes: Schema.String, does: Schema.String }),
  ({ does, notes }) => ({ told: child({}, { notes, does: does as "tell" }).told })
)
