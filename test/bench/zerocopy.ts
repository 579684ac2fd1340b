/**
 * How a large table passes from one stage to the next: `npx tsx test/bench/zerocopy.ts [repetitions] [pass]`. Linux.
 *
 * Time: from the producer's return of its table until the consumer has summed a column of what it was given; between
 * them lie the canonical encoding, hashing, writing and flushing of the file, the publication of the action, and
 * reading; and the code of the producer recorded for `explain` (once per run). The process's own processor time in
 * between, of all its threads, tells what a busy machine adds. Memory: peak of resident memory (VmHWM) of a fresh process that runs both stages with the real engine and a
 * store in a folder, less that of a process that passes next to nothing. The producer's own table counts, once.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Pass } from "./zerocopy/pipelines.js"

const REPETITIONS = Number(process.argv[2] ?? 5)
const MB = 1e6

interface Measured {
  readonly millis: number
  readonly processor: number
  readonly bytes: number
  readonly peak: number
}

const child = fileURLToPath(new URL("zerocopy/child.ts", import.meta.url))
const measure = async (name: Pass, size: "small" | "large"): Promise<Measured> => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", child, name, size], {
    cwd: fileURLToPath(new URL("../..", import.meta.url))
  })
  return JSON.parse(stdout) as Measured
}

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN
const range = (values: ReadonlyArray<number>, digits: number): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`

const what: Readonly<Record<Pass, string>> = {
  numbers: "5M rows, int32 ×3 and float32, Arrow table",
  influence: "influence, 1,024 rows with 270 × 270 blocks, Arrow table",
  "influence, a chunk per layer": "the same in 32 chunks",
  "16 sorted shards": "the 5M rows split into 16 shards, each through a stage, and gathered; sorted by shard",
  "16 mixed shards": "the same, every row in another shard than the one before",
  "rows to table": "1M rows, int32 ×3 and float32, stream of rows, read as a table",
  "rows to rows": "1M rows, int32 ×3 and float32, stream of rows, read as rows"
}

const only = process.argv[3]
const names = (Object.keys(what) as Array<Pass>).filter((name) => only === undefined || name === only)
const results = new Map<Pass, { readonly small: Array<Measured>; readonly large: Array<Measured> }>()
for (let i = 0; i < REPETITIONS; i++) {
  for (const name of names) {
    const { small, large } = results.get(name) ?? { small: [], large: [] }
    small.push(await measure(name, "small"))
    large.push(await measure(name, "large"))
    results.set(name, { small, large })
  }
}

console.log(
  "| what passes | size, MB | time, s | of it processor, s | peak above baseline, MB | peak / size |"
)
console.log("|---|---|---|---|---|---|")
for (const [name, { small, large }] of results) {
  const bytes = large[0]?.bytes ?? NaN
  const baseline = median(small.map(({ peak }) => peak))
  const above = large.map(({ peak }) => peak - baseline)
  const seconds = large.map(({ millis }) => millis / 1000)
  console.log(
    `| ${what[name]} | ${(bytes / MB).toFixed(0)} | ${range(seconds, 2)} | ${range(
      large.map(({ processor }) => processor / 1000),
      2
    )} | ${range(
      above.map((peak) => peak / MB),
      0
    )} | ${range(
      above.map((peak) => peak / bytes),
      2
    )} |`
  )
}
console.log(`\nMedian (least–most) of ${REPETITIONS} runs, each in a fresh process.`)
