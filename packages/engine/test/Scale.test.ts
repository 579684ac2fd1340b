/** Large graphs. */
import {
  document,
  gather,
  int32,
  pipeline,
  shard,
  stage,
  table,
  utf8,
  type ArtifactError,
  type Document,
  type Ref
} from "@tessera/core"
import { Effect, Schema, Stream } from "effect"
import { expect, it } from "vitest"
import { plan, run } from "../src/index.js"
import { folder, inStore } from "./harness.js"
import { module } from "./stages.js"

const Count = document("Count/1", Schema.Int)

const first = stage("first", {
  version: "1",
  module,
  inputs: {},
  outputs: { count: Count },
  params: Schema.Struct({}),
  run: () => Effect.succeed({ count: 0 })
})
const next = stage("next", {
  version: "1",
  module,
  inputs: { count: Count },
  outputs: { count: Count },
  params: Schema.Struct({ i: Schema.Int }),
  run: ({ count }, { i }) => Effect.map(count.value, (value) => ({ count: value + i }))
})

it(
  "a chain of 1,000 nodes runs, and is planned and served again from the store",
  { timeout: 180_000 },
  async () => {
    let count: Ref<Document<number>, ArtifactError> = first({}, {}).count
    for (let i = 1; i < 1000; i++) count = next({ count }, { i }).count
    const chain = pipeline("chain", { count })
    const root = folder()
    const ran = await inStore(root, run(chain))
    expect(ran.executed).toBe(1000)
    const planned = await inStore(root, plan(chain))
    expect(planned.every(({ status }) => status === "cached")).toBe(true)
    // Two seconds each on an idle machine; this one may be busy.
    const again = await inStore(root, run(chain))
    expect(again).toMatchObject({ cached: 1000, executed: 0, targets: ran.targets })
  }
)

it("400 cached shards are served without an execution", { timeout: 180_000 }, async () => {
  const Items = table("Items/1", { item: utf8, n: int32 })
  const items = stage("items", {
    version: "1",
    module,
    inputs: {},
    outputs: { items: Items },
    params: Schema.Struct({}),
    run: () =>
      Effect.succeed({
        items: Stream.range(1, 400).pipe(
          Stream.map((n) => ({ item: `item-${String(n).padStart(3, "0")}`, n }))
        )
      })
  })
  const square = stage("square", {
    version: "1",
    module,
    inputs: { items: Items },
    outputs: { items: Items },
    params: Schema.Struct({}),
    run: ({ items }) =>
      Effect.succeed({ items: Stream.map(items.rows, (row) => ({ ...row, n: row.n ** 2 })) })
  })
  const squares = pipeline("squares", {
    squares: gather(square.each({ items: shard(items({}, {}).items, "item") }, {}).items)
  })
  const root = folder()
  const ran = await inStore(root, run(squares))
  expect(ran.executed).toBe(401)
  const again = await inStore(root, run(squares))
  expect(again).toMatchObject({ cached: 401, executed: 0, targets: ran.targets })
})
