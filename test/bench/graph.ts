/**
 * How long the engine takes over graphs that have nothing to compute:
 * `npx tsx test/bench/graph.ts [repeats] [graph ...]`, all graphs where none is named.
 *
 * The first run of a shape computes everything; after it each figure is the median of repeats in this process, each
 * with a store of its own over the same folder, so that nothing but the disk's cache is warm.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { type ArtifactError, type Document, gather, pipeline, type Ref, shard } from "@tessera/core"
import { plan, run } from "@tessera/engine"
import { FileStore, type Store } from "@tessera/store"
import { Effect } from "effect"
import { first, items, next, square } from "./stages.js"

type Counted = Ref<Document<number>, ArtifactError>
const indexes = (length: number) => Array.from({ length }, (_, i) => i + 1)

const chain = (length: number) =>
  pipeline(`chain-${length}`, {
    last: indexes(length - 1).reduce<Counted>((count, i) => next({ count }, { i }).count, first({}, {}).count)
  })

const fan = (width: number) => {
  const { count } = first({}, {})
  return pipeline(
    `fan-${width}`,
    Object.fromEntries(indexes(width - 1).map((i) => [`t${i}`, next({ count }, { i }).count]))
  )
}

/** Chains of ten side by side. */
const mixed = (nodes: number) => {
  const { count } = first({}, {})
  const strand = (n: number) =>
    indexes(10).reduce<Counted>((count, i) => next({ count }, { i: n * 10 + i }).count, count)
  return pipeline(
    `mixed-${nodes}`,
    Object.fromEntries(indexes(Math.floor((nodes - 1) / 10)).map((n) => [`t${n}`, strand(n)]))
  )
}

const shards = (count: number) =>
  pipeline(`shards-${count}`, {
    squares: gather(square.each({ items: shard(items({}, { count }).items, "item") }, {}).items)
  })

const folder = mkdtempSync(join(tmpdir(), "tessera-bench-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const from = performance.now()
  await work()
  return (performance.now() - from) / 1000
}
const median = (all: ReadonlyArray<number>) => all.toSorted((a, b) => a - b)[all.length >> 1] ?? Number.NaN

const repeats = Number(process.argv[2] ?? 5)

type Work = Effect.Effect<unknown, unknown, Store>

const asked = process.argv.slice(3)
const measure = async (name: string, run: Work | undefined, plan: Work) => {
  if (asked.length > 0 && !asked.includes(name)) return
  const root = join(folder, name)
  const once = (work: Work) =>
    seconds(() => Effect.runPromise(Effect.provide(work, FileStore.layer({ root }))))
  const many = async (work: Work) => {
    const all: Array<number> = []
    for (let i = 0; i < repeats; i++) all.push(await once(work))
    return median(all)
  }
  const figures = [await many(plan)]
  if (run !== undefined) figures.unshift(await once(run), await many(run))
  if (run !== undefined) figures.push(await many(plan))
  const [first, again, empty, cached] = run === undefined ? [undefined, undefined, ...figures] : figures
  const cells = [first, again, empty, cached].map((value) => (value?.toFixed(2) ?? "").padStart(14))
  console.log(`${name.padEnd(12)}${cells.join("")}`)
}

console.log(
  `node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}; seconds, median of ${repeats}`
)
console.log(
  `graph       ${["first run", "cached rerun", "plan, new", "plan, cached"].map((t) => t.padStart(14)).join("")}`
)
await measure("chain-1000", run(chain(1000)), plan(chain(1000)))
await measure("fan-1000", run(fan(1000)), plan(fan(1000)))
await measure("shards-400", run(shards(400)), plan(shards(400)))
await measure("chain-10000", run(chain(10_000)), plan(chain(10_000)))
await measure("mixed-10000", run(mixed(10_000)), plan(mixed(10_000)))
