/**
 * A producer that makes a large table and a consumer that sums one of its columns. What happens between them is
 * measured.
 */
import { Influence } from "@tessera/attention"
import { document, float32, gather, int32, pipeline, shard, stage, table } from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Effect, Schema, Stream } from "effect"

export const Numbers = table("Numbers/1", { length: int32, layer: int32, head: int32, value: float32 })
const Sum = document("Sum/1", Schema.Struct({ sum: Schema.Number }))

/** When the producer returned and when the consumer had its sum; in this process. */
export const times = { returned: 0, summed: 0, bytes: 0, processor: 0 }

/** Milliseconds of processor time that this process has taken. */
const processor = () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const module = import.meta.url
const Size = Schema.Struct({ rows: Schema.Number })

/** Bytes of all buffers of a table. */
const sizeOf = (content: Arrow.Table) => content.data.reduce((sum, data) => sum + data.byteLength, 0)

const returned = <A>(content: A): A => {
  times.returned = performance.now()
  times.processor = processor()
  return content
}

/** `head` has 16 values: sorted, or from row to row another. */
const numbers = (rows: number, sorted: boolean) => {
  const [length, layer, head] = [new Int32Array(rows), new Int32Array(rows), new Int32Array(rows)]
  const value = new Float32Array(rows)
  for (let i = 0; i < rows; i++) {
    length[i] = i >> 12
    layer[i] = (i >> 5) & 31
    head[i] = sorted ? Math.floor((i * 16) / rows) : i & 15
    value[i] = (i % 1000) / 1000
  }
  const content = new Arrow.Table({
    length: Arrow.makeVector(length),
    layer: Arrow.makeVector(layer),
    head: Arrow.makeVector(head),
    value: Arrow.makeVector(value)
  })
  times.bytes = sizeOf(content)
  return content
}

/** 32 layers of 32 heads at one length; row-major block sums, [blocks, blocks] per head. `chunks`: one per layer. */
const influence = (rows: number, chunks: number) => {
  const heads = rows / chunks
  const blocks = 270 * 270
  const int = (f: (i: number) => number, from: number) =>
    Arrow.makeData({
      type: new Arrow.Int32(),
      length: heads,
      nullCount: 0,
      data: Int32Array.from({ length: heads }, (_, i) => f(from + i))
    })
  const listOf = (type: Arrow.Float32 | Arrow.Float64, size: number) => {
    const data =
      type instanceof Arrow.Float32 ? new Float32Array(heads * size) : new Float64Array(heads * size)
    for (let i = 0; i < data.length; i++) data[i] = (i % 100) / 100
    return Arrow.makeData({
      type: new Arrow.List(new Arrow.Field("item", type, false)),
      length: heads,
      nullCount: 0,
      valueOffsets: Int32Array.from({ length: heads + 1 }, (_, i) => i * size),
      child: Arrow.makeData({ type, length: data.length, nullCount: 0, data } as never)
    } as never)
  }
  const from = Array.from({ length: chunks }, (_, i) => i * heads)
  const content = new Arrow.Table({
    length: new Arrow.Vector(from.map((at) => int(() => 17_280, at))),
    layer: new Arrow.Vector(from.map((at) => int((i) => i >> 5, at))),
    head: new Arrow.Vector(from.map((at) => int((i) => i & 31, at))),
    block: new Arrow.Vector(from.map((at) => int(() => 64, at))),
    sink: new Arrow.Vector(from.map((at) => int(() => 64, at))),
    items: new Arrow.Vector(from.map((at) => int(() => 8, at))),
    window: new Arrow.Vector(from.map(() => listOf(new Arrow.Float64(), 271))),
    blocks: new Arrow.Vector(from.map(() => listOf(new Arrow.Float32(), blocks)))
  })
  times.bytes = sizeOf(content)
  return content
}

const makeNumbers = stage("bench/makeNumbers", {
  version: "1",
  module,
  inputs: {},
  outputs: { table: Numbers },
  params: Schema.Struct({ rows: Schema.Number, sorted: Schema.Boolean }),
  run: (_, { rows, sorted }) => Effect.sync(() => ({ table: returned(numbers(rows, sorted)) }))
})

const same = stage("bench/same", {
  version: "1",
  module,
  inputs: { table: Numbers },
  outputs: { table: Numbers },
  params: Schema.Struct({}),
  run: ({ table }) => Effect.map(table.table, (content) => ({ table: content }))
})

const makeRows = stage("bench/makeRows", {
  version: "1",
  module,
  inputs: {},
  outputs: { table: Numbers },
  params: Size,
  run: (_, { rows }) =>
    Effect.sync(() => {
      times.bytes = rows * 16
      const stream = Stream.map(Stream.range(0, rows - 1), (i) => ({
        length: i >> 12,
        layer: (i >> 5) & 31,
        head: i & 31,
        value: (i % 1000) / 1000
      }))
      return { table: returned(stream) }
    })
})

const makeInfluence = stage("bench/makeInfluence", {
  version: "1",
  module,
  inputs: {},
  outputs: { table: Influence },
  params: Schema.Struct({ rows: Schema.Number, chunks: Schema.Number }),
  run: (_, { rows, chunks }) => Effect.sync(() => ({ table: returned(influence(rows, chunks)) }))
})

const summed = (sum: number) => {
  times.summed = performance.now()
  times.processor = processor() - times.processor
  return { sum: { sum } }
}

const add = (vector: Arrow.Vector | null): number => {
  let sum = 0
  for (const { values } of vector?.data ?? []) {
    // By index: an iterator takes longer over the values than they take from stage to stage.
    const numbers = values as Float32Array
    for (let i = 0; i < numbers.length; i++) sum += numbers[i] ?? 0
  }
  return sum
}

const sumNumbers = stage("bench/sumNumbers", {
  version: "1",
  module,
  inputs: { table: Numbers },
  outputs: { sum: Sum },
  params: Schema.Struct({}),
  run: ({ table }) => Effect.map(table.table, (content) => summed(add(content.getChild("value"))))
})

const sumRows = stage("bench/sumRows", {
  version: "1",
  module,
  inputs: { table: Numbers },
  outputs: { sum: Sum },
  params: Schema.Struct({}),
  run: ({ table }) =>
    Effect.map(
      Stream.runFold(table.rows, 0, (sum, { value }) => sum + value),
      summed
    )
})

const sumInfluence = stage("bench/sumInfluence", {
  version: "1",
  module,
  inputs: { table: Influence },
  outputs: { sum: Sum },
  params: Schema.Struct({}),
  run: ({ table }) =>
    Effect.map(table.table, (content) =>
      summed(
        content.batches.reduce((sum, batch) => sum + add(batch.getChild("blocks")?.getChildAt(0) ?? null), 0)
      )
    )
})

/** What is passed, by name; `small` is the same with next to nothing in it. */
export const passes = {
  numbers: (small: boolean) => {
    const { table } = makeNumbers({}, { rows: small ? 1000 : 5_000_000, sorted: false })
    return pipeline("numbers", sumNumbers({ table }, {}))
  },
  "16 sorted shards": (small: boolean) => {
    const { table } = makeNumbers({}, { rows: small ? 1000 : 5_000_000, sorted: true })
    return pipeline(
      "sorted",
      sumNumbers({ table: gather(same.each({ table: shard(table, "head") }, {}).table) }, {})
    )
  },
  "16 mixed shards": (small: boolean) => {
    const { table } = makeNumbers({}, { rows: small ? 1000 : 5_000_000, sorted: false })
    return pipeline(
      "mixed",
      sumNumbers({ table: gather(same.each({ table: shard(table, "head") }, {}).table) }, {})
    )
  },
  influence: (small: boolean) => {
    const { table } = makeInfluence({}, { rows: small ? 1 : 1024, chunks: 1 })
    return pipeline("influence", sumInfluence({ table }, {}))
  },
  "influence, a chunk per layer": (small: boolean) => {
    const { table } = makeInfluence({}, { rows: small ? 1 : 1024, chunks: small ? 1 : 32 })
    return pipeline("influence-chunks", sumInfluence({ table }, {}))
  },
  "rows to table": (small: boolean) => {
    const { table } = makeRows({}, { rows: small ? 1000 : 1_000_000 })
    return pipeline("rows-table", sumNumbers({ table }, {}))
  },
  "rows to rows": (small: boolean) => {
    const { table } = makeRows({}, { rows: small ? 1000 : 1_000_000 })
    return pipeline("rows-rows", sumRows({ table }, {}))
  }
}
export type Pass = keyof typeof passes
