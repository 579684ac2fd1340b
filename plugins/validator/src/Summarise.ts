/**
 * From items to measurements: by plan, task, length and depth, with intervals.
 */
import { Measurements } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"
import { ItemMeasurement } from "./Measure.js"
import { mean, meanMargin, wilson } from "./Statistics.js"

type Measurement = Row<typeof Measurements>

const BUCKETS = 5

/** `0.0-0.2` … `0.8-1.0`. */
export const depthBucket = (depth: number): string => {
  const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.floor(depth * BUCKETS)))
  return `${(bucket / BUCKETS).toFixed(1)}-${((bucket + 1) / BUCKETS).toFixed(1)}`
}

/** One row of items that are alike in plan, task and length. */
export const measure = (
  items: readonly [ItemMeasurement, ...ReadonlyArray<ItemMeasurement>],
  depth: string
): Measurement => {
  const [{ plan, task, length }] = items
  const exact = items.filter((item) => item.exact).length
  const [accuracy_low, accuracy_high] = wilson(exact, items.length)
  const losses = items.map((item) => item.loss / item.tokens)
  return {
    plan,
    task,
    length,
    depth,
    items: items.length,
    accuracy: exact / items.length,
    accuracy_low,
    accuracy_high,
    loss: mean(losses),
    loss_margin: meanMargin(losses),
    kv_bytes: mean(items.map((item) => item.kv_bytes)),
    density: mean(items.map((item) => item.density))
  }
}

/** Plans in the order they were measured in; tasks, lengths and depths ascending, `all` first. */
export const summarise = stage("summarise", {
  version: "1",
  module: import.meta.url,
  description: "Accuracy, loss and KV bytes with 95% intervals",
  inputs: { items: ItemMeasurement },
  outputs: { measurements: Measurements },
  params: Schema.Struct({
    /** One row per depth too, not only over all. */
    depths: Schema.optionalWith(Schema.Boolean, { default: () => true })
  }),
  run: ({ items }, { depths }) =>
    Effect.gen(function* () {
      const groups = new Map<string, [ItemMeasurement, ...Array<ItemMeasurement>]>()
      const order = new Map<string, number>()
      yield* Stream.runForEach(items.rows, (item) =>
        Effect.sync(() => {
          if (!order.has(item.plan)) order.set(item.plan, order.size)
          const retrieval = item.task === "longeval"
          for (const depth of depths && retrieval ? ["all", depthBucket(item.depth)] : ["all"]) {
            const key = [item.task, String(item.length).padStart(9, "0"), order.get(item.plan), depth].join(
              "\0"
            )
            const known = groups.get(key)
            if (known === undefined) groups.set(key, [item])
            else known.push(item)
          }
        })
      )
      const rows = [...groups].map(([key, group]) => measure(group, key.split("\0")[3] ?? "all"))
      const rank = (row: Measurement) => order.get(row.plan) ?? 0
      rows.sort(
        (a, b) =>
          (a.task < b.task ? -1 : a.task > b.task ? 1 : 0) ||
          a.length - b.length ||
          rank(a) - rank(b) ||
          (a.depth === "all" ? -1 : b.depth === "all" ? 1 : a.depth < b.depth ? -1 : 1)
      )
      return { measurements: Stream.fromIterable(rows) }
    })
})
