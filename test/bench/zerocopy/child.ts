/**
 * One pass in a fresh process: prints its time, the table's size and the process's peak of resident memory.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "@tessera/engine"
import { FileStore } from "@tessera/store"
import { Effect } from "effect"
import { passes, times, type Pass } from "./pipelines.js"

const [name, size] = process.argv.slice(2)
const root = mkdtempSync(join(tmpdir(), "tessera-zerocopy-"))
try {
  const pipeline = passes[name as Pass](size === "small")
  await Effect.runPromise(Effect.provide(run(pipeline), FileStore.layer({ root: join(root, "store") })))
  const [, peak] = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8")) ?? []
  const { returned, summed, bytes, processor } = times
  process.stdout.write(
    JSON.stringify({ millis: summed - returned, processor, bytes, peak: Number(peak) * 1024 })
  )
} finally {
  rmSync(root, { recursive: true, force: true })
}
