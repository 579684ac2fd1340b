/**
 * How long the compiler takes for a pipeline of 200 stages, against one of ten (most of which is effect, Arrow and the
 * packages' own sources). `npx tsx test/bench/types.ts`
 */
import { longPipeline } from "../types/LongPipeline.js"
import { type Checked, typeCheck } from "../types/TypeCheck.js"

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

const sizes = [10, 200]
const rounds = Number(process.argv[2] ?? 3)
const checks = new Map(sizes.map((size) => [size, [] as Array<Checked>]))
for (let round = 0; round < rounds; round++) {
  for (const size of sizes) {
    const checked = typeCheck({ "pipeline.ts": longPipeline(size).text })
    if (!checked.ok) throw new Error(checked.output)
    checks.get(size)?.push(checked)
  }
}
console.log("| stages | median s | fastest s | median CPU s | rounds |\n|---:|---:|---:|---:|---:|")
for (const [size, all] of checks) {
  const seconds = all.map((one) => one.seconds)
  const cpu = median(all.map((one) => one.cpuSeconds))
  const [middle, fastest] = [median(seconds), Math.min(...seconds)]
  console.log(
    `| ${size} | ${middle.toFixed(2)} | ${fastest.toFixed(2)} | ${cpu.toFixed(2)} | ${all.length} |`
  )
}
