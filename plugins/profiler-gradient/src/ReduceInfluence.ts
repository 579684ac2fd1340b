/**
 * One influence of many items', and the model's attention shape for those who make plans of it.
 */
import { AttentionShapeDocument, Influence, ItemInfluence, Model } from "@tessera/attention"
import { type Row, stage } from "@tessera/core"
import { attentionShape, openConfig } from "@tessera/runtime"
import { Effect, Schema, Stream } from "effect"
import { ProfilerError } from "./Errors.js"
import { padded, widened } from "./Padding.js"

type Item = Row<typeof ItemInfluence>

interface Sum {
  readonly first: Item
  items: number
  readonly window: Float64Array
  readonly blocks: Float64Array
}

const addTo = (into: Float64Array, values: ReadonlyArray<number>): void => {
  for (let i = 0; i < into.length; i++) into[i] = (into[i] ?? 0) + (values[i] ?? 0)
}

/** What of an item's loss is added up, and what becomes of the mean. */
const overs = {
  mean: { of: (loss: number) => loss, from: (mean: number) => mean },
  rms: { of: (loss: number) => loss * loss, from: Math.sqrt }
} as const

export const ReduceParams = Schema.Struct({
  /**
   * How losses of several items become one: their `mean` (the paper's), or their root mean square (`rms`), by which a
   * loss that ruins one item of many outweighs noise in all of them.
   */
  over: Schema.optionalWith(Schema.Literal("mean", "rms"), { default: () => "mean" as const })
})

const windowsOf = (sum: Sum, over: keyof typeof overs): Row<typeof Influence> => {
  const { length, layer, head, block, sink } = sum.first
  const mean = (values: Float64Array) => Array.from(values, (value) => value / sum.items)
  return {
    length,
    layer,
    head,
    block,
    sink,
    items: sum.items,
    window: mean(sum.window).map(overs[over].from),
    blocks: mean(sum.blocks)
  }
}

const collect = (
  sums: Map<string, Sum>,
  item: Item,
  over: keyof typeof overs
): Effect.Effect<Map<string, Sum>, ProfilerError> => {
  const full = Math.ceil(item.length / item.block)
  if (
    item.window.length > full + 1 ||
    (item.blocks.length > 0 && item.blocks.length !== (item.window.length - 1) ** 2)
  ) {
    return new ProfilerError({
      reason: "Inconsistent",
      detail: `item ${item.item} has ${item.window.length} windows; ${item.length} tokens have ${full} blocks of ${item.block}`
    })
  }
  const notFinite = item.window.find((value) => !Number.isFinite(value))
  if (notFinite !== undefined) {
    return new ProfilerError({
      reason: "NotFinite",
      detail: `the influence of item ${item.item} in layer ${item.layer}, head ${item.head} is ${notFinite}`
    })
  }
  const key = `${item.length} ${item.layer} ${item.head}`
  const window = item.window.map(overs[over].of)
  const known = sums.get(key)
  if (known === undefined) {
    sums.set(key, {
      first: item,
      items: 1,
      window: padded(window, full + 1),
      blocks: widened(item.blocks, item.window.length - 1, full)
    })
    return Effect.succeed(sums)
  }
  if (known.first.block !== item.block || known.first.sink !== item.sink) {
    return new ProfilerError({
      reason: "Inconsistent",
      detail: `items ${known.first.item} and ${item.item} were profiled with different blocks or sinks`
    })
  }
  addTo(known.window, window)
  addTo(known.blocks, Array.from(widened(item.blocks, item.window.length - 1, full)))
  known.items++
  return Effect.succeed(sums)
}

export const reduceInfluence = stage("reduce-influence", {
  version: "1",
  module: import.meta.url,
  description: "Makes one influence of many items'",
  inputs: { items: ItemInfluence, model: Model },
  outputs: { influence: Influence, shape: AttentionShapeDocument },
  params: ReduceParams,
  run: ({ items, model }, { over }) =>
    Effect.gen(function* () {
      const sums = yield* Stream.runFoldEffect(items.rows, new Map<string, Sum>(), (sums, item) =>
        collect(sums, item, over)
      )
      if (sums.size === 0) {
        return yield* new ProfilerError({
          reason: "NoItems",
          detail: "there is no item to average; calibrate some first"
        })
      }
      const rows = [...sums.values()]
        .map((sum) => windowsOf(sum, over))
        .sort((a, b) => a.length - b.length || a.layer - b.layer || a.head - b.head)
      const config = yield* openConfig(model.path)
      return { influence: Stream.fromIterable(rows), shape: attentionShape(config, { digest: model.digest }) }
    })
})

/** The model's attention shape alone. */
export const readShape = stage("attention-shape", {
  version: "1",
  module: import.meta.url,
  description: "Reads the model's attention shape",
  inputs: { model: Model },
  outputs: { shape: AttentionShapeDocument },
  params: Schema.Struct({}),
  run: ({ model }) =>
    Effect.map(openConfig(model.path), (config) => ({
      shape: attentionShape(config, { digest: model.digest })
    }))
})
