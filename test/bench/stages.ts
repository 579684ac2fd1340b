/** Stages with nothing to do. In a module of their own: what measures them may change and their results stay cached. */
import { document, int32, stage, table, utf8 } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"

const Count = document("Count/1", Schema.Int)
const Items = table("Items/1", { item: utf8, n: int32 })
const module = import.meta.url

export const first = stage("first", {
  version: "1",
  module,
  inputs: {},
  outputs: { count: Count },
  params: Schema.Struct({}),
  run: () => Effect.succeed({ count: 0 })
})
export const next = stage("next", {
  version: "1",
  module,
  inputs: { count: Count },
  outputs: { count: Count },
  params: Schema.Struct({ i: Schema.Int }),
  run: ({ count }, { i }) => Effect.map(count.value, (value) => ({ count: value + i }))
})
export const items = stage("items", {
  version: "1",
  module,
  inputs: {},
  outputs: { items: Items },
  params: Schema.Struct({ count: Schema.Int }),
  run: (_, { count }) =>
    Effect.succeed({
      items: Stream.range(1, count).pipe(
        Stream.map((n) => ({ item: `item-${String(n).padStart(4, "0")}`, n }))
      )
    })
})
export const square = stage("square", {
  version: "1",
  module,
  inputs: { items: Items },
  outputs: { items: Items },
  params: Schema.Struct({}),
  run: ({ items }) => Effect.succeed({ items: Stream.map(items.rows, (row) => ({ ...row, n: row.n ** 2 })) })
})
