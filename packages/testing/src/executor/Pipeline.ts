/**
 * What executors are tried with. A module of its own: other processes load the pipeline by its default export.
 */
import { spawn } from "node:child_process"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { document, gather, int32, pipeline, shard, stage, table, tree, utf8 } from "@tessera/core"
import { Data, Effect, Schema, Stream } from "effect"

export const Numbers = table("Numbers/1", { group: utf8, n: int32 })
export const Sum = document("Sum/1", Schema.Struct({ sum: Schema.Number, by: Schema.Number }))
export const Files = tree("Files/1")

/** How the stage of the suite fails. */
export class Refused extends Data.TaggedError("Refused")<{
  readonly code: number
  readonly message: string
}> {}

const numbers = stage("numbers", {
  version: "1",
  module: import.meta.url,
  inputs: {},
  outputs: { numbers: Numbers },
  params: Schema.Struct({}),
  run: () =>
    Effect.succeed({
      numbers: Stream.fromIterable(["a", "b", "c"].flatMap((group) => [1, 2].map((n) => ({ group, n }))))
    })
})

/** Until the scope closes. */
const helper = Effect.acquireRelease(
  Effect.sync(() => spawn("sleep", ["600"], { stdio: "ignore" })),
  (child) => Effect.sync(() => child.kill("SIGKILL"))
)

const work = stage("work", {
  version: "1",
  module: import.meta.url,
  inputs: { numbers: Numbers },
  outputs: { numbers: Numbers, sum: Sum, files: Files },
  params: Schema.Struct({
    does: Schema.Literal("work", "fail", "throw", "wait"),
    by: Schema.optionalWith(Schema.Number, { default: () => 3 })
  }),
  resources: { slots: { bench: 1 } },
  run: ({ numbers }, { by, does }, task) =>
    Effect.gen(function* () {
      const { bench = [] } = task.slots
      // All that the suite wants to know and that may be in no result.
      const label = JSON.stringify({ pid: process.pid, scratch: task.scratch, bench })
      yield* task.report({ done: 1, total: 1, unit: "steps", label })
      if (does === "fail") return yield* new Refused({ code: 400, message: "no" })
      if (does === "throw") throw new TypeError("a bug")
      if (does === "wait") {
        yield* helper
        yield* task.report({ done: 2, total: 2, unit: "steps", label })
        return yield* Effect.never
      }
      const rows = [...(yield* Stream.runCollect(numbers.rows))].map((row) => ({ ...row, n: row.n * by }))
      const folder = join(task.scratch, "files")
      yield* Effect.promise(async () => {
        await mkdir(folder)
        await writeFile(join(folder, "rows.json"), JSON.stringify(rows))
      })
      const sum = rows.reduce((all, { n }) => all + n, 0)
      return { numbers: Stream.fromIterable(rows), sum: { sum, by }, files: { folder } }
    })
})

/** Where other processes find it. */
export const MODULE = import.meta.url
export const WORK = "work"
export const PARTS = "parts"

/** `work` once over all rows, and once per group. */
export default pipeline("executors", Schema.Struct({ does: Schema.String }), ({ does }) => {
  const source = numbers({}, {}).numbers
  const params = { does: does as "work" }
  const parts = work.each({ numbers: shard(source, "group") }, params, { name: PARTS })
  return { ...work({ numbers: source }, params, { name: WORK }), parts: gather(parts.numbers) }
})
