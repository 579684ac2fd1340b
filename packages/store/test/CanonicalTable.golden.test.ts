/**
 * The bytes of a table decide the keys of whatever reads it: these digests must never change by accident.
 */
import {
  bool,
  type Fields,
  float32,
  float64,
  int32,
  int64,
  list,
  nullable,
  type Table,
  table,
  timestampMicros,
  timestampMillis,
  utf8,
  vec
} from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Effect, Stream } from "effect"
import { expect, it } from "vitest"
import { MemoryStore, Store } from "../src/index.js"

const put = (type: Table<Fields>, content: Arrow.Table | Stream.Stream<unknown>) =>
  Effect.runPromise(
    Effect.provide(
      Effect.flatMap(Store, (store) => store.putTable(type, content)),
      MemoryStore.layer
    )
  )

/** Numbers that are the same everywhere. */
const noise = (i: number) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) / 2 ** 32

const Numbers = table("Numbers/1", { length: int32, layer: int32, head: int32, value: float32 })
const numbers = (rows: number) => {
  const column = (f: (i: number) => number) => Int32Array.from({ length: rows }, (_, i) => f(i))
  return new Arrow.Table({
    length: Arrow.makeVector(column((i) => i >> 10)),
    layer: Arrow.makeVector(column((i) => (i >> 5) & 31)),
    head: Arrow.makeVector(column((i) => i & 31)),
    value: Arrow.makeVector(
      Float32Array.from({ length: rows }, (_, i) => (i % 1000 === 7 ? NaN : noise(i) - 0.5))
    )
  })
}

const Everything = table("Everything/1", {
  name: utf8,
  flag: bool,
  count: int32,
  big: int64,
  maybe: nullable(int32),
  note: nullable(utf8),
  sure: nullable(bool),
  single: float32,
  double: float64,
  at: timestampMillis,
  precisely: timestampMicros,
  tokens: list(int32),
  words: list(utf8),
  gaps: list(nullable(float64)),
  nested: list(list(float64)),
  sometimes: nullable(list(int32)),
  direction: vec(2)
})
const everything = (i: number) => ({
  name: ["", "plain", "größer", "日本", "👍🏽"][i % 5],
  flag: i % 3 === 0,
  count: Math.round((noise(i) - 0.5) * 2 ** 32),
  big: BigInt(i) * 9_007_199_254_740_993n,
  maybe: i % 2 === 0 ? null : i,
  note: i % 4 === 0 ? null : `note ${i}`,
  sure: i % 5 === 0 ? null : i % 2 === 0,
  single: i === 4 ? NaN : Math.fround(noise(i)),
  double: [NaN, Infinity, -0, 1e-320][i % 8] ?? noise(i),
  at: 1_700_000_000_000 + i,
  precisely: 1_700_000_000_000 + i,
  tokens: Array.from({ length: i % 4 }, (_, j) => i + j),
  words: Array.from({ length: i % 3 }, (_, j) => `w${j}`),
  gaps: i % 3 === 0 ? [null, 1] : [0.5],
  nested: Array.from({ length: i % 3 }, (_, j) => Array.from({ length: j }, () => noise(i))),
  sometimes: i % 3 === 1 ? null : [i],
  direction: [i, -i]
})
const rows = (n: number) => Stream.map(Stream.range(0, n - 1), everything)

const Items = table("Items/1", { item: utf8, maybe: nullable(int32), tokens: list(int32) })
const items = (n: number) =>
  Stream.map(Stream.range(0, n - 1), (i) => ({
    item: `item ${i % 1000}`,
    maybe: i % 3 === 0 ? null : i,
    tokens: i % 2 === 0 ? [] : [i]
  }))

const Influence = table("Influence/1", { layer: int32, head: int32, blocks: list(float32) })
const influence = new Arrow.Table({
  layer: Arrow.makeVector(Int32Array.from({ length: 64 }, (_, i) => i >> 3)),
  head: Arrow.makeVector(Int32Array.from({ length: 64 }, (_, i) => i & 7)),
  blocks: Arrow.makeVector(
    Arrow.makeData({
      type: new Arrow.List(new Arrow.Field("item", new Arrow.Float32(), false)),
      length: 64,
      nullCount: 0,
      valueOffsets: Int32Array.from({ length: 65 }, (_, i) => i * 100),
      child: Arrow.makeData({
        type: new Arrow.Float32(),
        length: 6400,
        nullCount: 0,
        data: Float32Array.from({ length: 6400 }, (_, i) => noise(i))
      })
    })
  )
})

it.each<[string, Table<Fields>, Arrow.Table | Stream.Stream<unknown>, string]>([
  [
    "no rows",
    Everything,
    Stream.empty,
    "sha256:7d3c1220f01044745295414fa2d6505cee112ca42274fc22b9dd55c255f26f40"
  ],
  [
    "an Arrow table without rows",
    Numbers,
    numbers(0),
    "sha256:1fe542299ac99042d8ec6112d2628e012cd09f7f186b1165f7292eecbaefc59c"
  ],
  ["one row", Everything, rows(1), "sha256:c8148a2b62e2653aa40674a2cba6c6290ffb227c4b078436802ae97c88ee68e7"],
  [
    "every type of column",
    Everything,
    rows(500),
    "sha256:d4b57df823fc934e13d009b3225250fadde12737794e6259e3a1e352ba180bea"
  ],
  [
    "rows that fill more than one batch",
    Items,
    items(66_000),
    "sha256:e259aa29ed5dfb1f51d7c8107756d3c44489b91eaab0bb79e858f414cb70b6d1"
  ],
  [
    "rows that fill one batch to the brim",
    Numbers,
    numbers(65_536),
    "sha256:026cd3962e73d793e6ea0eb7aced29e6386e833b36e0f179c8ccccbbeedf5b16"
  ],
  [
    "columns of three batches",
    Numbers,
    numbers(150_000),
    "sha256:354c50f5b0498c65ce4925fd70f9b95def5bd6a0f3de3358d7a3e01c0f8fc24d"
  ],
  [
    "columns from an offset on",
    Numbers,
    numbers(150_000).slice(70_001, 140_002),
    "sha256:ff2ee373da3665a4c2803cefbe257bf1cb5c1e980ceb9fc190a137c98508c0d4"
  ],
  [
    "a table of several chunks",
    Numbers,
    numbers(1000).concat(numbers(70_000), numbers(3)),
    "sha256:126c929a37ef0015bb4ef0ef8883b7b208072ca6ea34f901968ad4df6edbc7e0"
  ],
  [
    "lists of numbers",
    Influence,
    influence,
    "sha256:d214a0186da11ab904851eb7faa6a41131231b3aab8dc5b046bd09ab21150cba"
  ],
  [
    "lists of numbers from an offset on",
    Influence,
    influence.slice(5, 60),
    "sha256:c821fef129af14aaa186858d386669326969c83985e2678f952a50ea333dfa07"
  ]
])("the bytes of a table are pinned: %s", async (_, type, content, digest) => {
  expect((await put(type, content)).digest).toBe(digest)
})
