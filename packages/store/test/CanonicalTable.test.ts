import {
  arrowSchema,
  bool,
  float32,
  float64,
  int32,
  int64,
  list,
  nullable,
  table,
  utf8,
  vec
} from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Chunk, Effect, Exit, Stream } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { MemoryStore, Store } from "../src/index.js"

const Everything = table("Everything/1", {
  name: utf8,
  flag: bool,
  count: int32,
  big: int64,
  maybe: nullable(int32),
  note: nullable(utf8),
  single: float32,
  double: float64,
  tokens: list(int32),
  nested: list(list(float64)),
  direction: vec(2)
})

const row = fc.record({
  name: fc.string(),
  flag: fc.boolean(),
  count: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  big: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  maybe: fc.option(fc.integer({ min: -5, max: 5 })),
  note: fc.option(fc.string()),
  single: fc.float(),
  double: fc.double(),
  tokens: fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 5 }),
  nested: fc.array(fc.array(fc.double(), { maxLength: 3 }), { maxLength: 3 }),
  direction: fc.tuple(fc.float(), fc.float())
})

const inStore = <A, E>(effect: Effect.Effect<A, E, Store>) =>
  Effect.runPromiseExit(Effect.provide(effect, MemoryStore.layer))

const put = (content: Arrow.Table | Stream.Stream<unknown>) =>
  Effect.flatMap(Store, (store) => store.putTable(Everything, content))

describe("a stored table", () => {
  it("gives back every value, and equal rows are equal bytes however they are batched and encoded", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 12 }),
        fc.integer({ min: 1, max: 5 }),
        async (rows, size) => {
          const exit = await inStore(
            Effect.gen(function* () {
              const store = yield* Store
              const whole = yield* put(Stream.fromIterable(rows))
              const chunked = yield* put(Stream.rechunk(Stream.fromIterable(rows), size))
              const read = yield* Effect.scoped(
                Effect.flatMap(store.open(Everything, whole), (reader) =>
                  Effect.all([reader.table, Stream.runCollect(reader.rows)])
                )
              )
              const [arrow, back] = read
              // The same rows behind an offset, in two batches.
              const padded = arrow.concat(arrow)
              const sliced = yield* put(
                padded
                  .slice(rows.length - Math.floor(rows.length / 2), rows.length)
                  .concat(padded.slice(rows.length, padded.numRows - Math.floor(rows.length / 2)))
              )
              const rotated = [
                ...rows.slice(rows.length - Math.floor(rows.length / 2)),
                ...rows.slice(0, rows.length - Math.floor(rows.length / 2))
              ]
              const expected = yield* put(Stream.fromIterable(rotated))
              return { whole, chunked, sliced, expected, back: Chunk.toReadonlyArray(back) }
            })
          )
          const { whole, chunked, sliced, expected, back } = Exit.match(exit, {
            onFailure: (cause) => {
              throw new Error(String(cause))
            },
            onSuccess: (value) => value
          })
          expect(back).toEqual(
            rows.map((r) => ({
              ...r,
              single: Math.fround(r.single),
              direction: r.direction.map(Math.fround)
            }))
          )
          expect(chunked).toEqual(whole)
          expect(sliced.digest).toBe(expected.digest)
        }
      ),
      { numRuns: 40 }
    )
  }, 60_000)

  it("is the same whether text came dictionary-encoded, and whatever lies under a null", async () => {
    const T = table("T/1", { name: utf8, maybe: nullable(int32) })
    const schema = arrowSchema(T)
    const junk = (under: number) =>
      new Arrow.Table({
        name: Arrow.vectorFromArray(["q", "k", "q"]),
        maybe: new Arrow.Vector([
          Arrow.makeData({
            type: new Arrow.Int32(),
            length: 3,
            nullCount: 1,
            nullBitmap: Uint8Array.of(0b101),
            data: Int32Array.of(1, under, 3)
          })
        ])
      })
    expect(schema.fields).toHaveLength(2)
    const exit = await inStore(
      Effect.gen(function* () {
        const store = yield* Store
        const rows = Stream.make({ name: "q", maybe: 1 }, { name: "k", maybe: null }, { name: "q", maybe: 3 })
        return yield* Effect.all([
          store.putTable(T, rows),
          store.putTable(T, junk(7)),
          store.putTable(T, junk(-99))
        ])
      })
    )
    const digests = Exit.isSuccess(exit) ? exit.value.map(({ digest }) => digest) : [String(exit)]
    expect(new Set(digests).size).toBe(1)
  })

  it.each([
    ["a number too large for int32", { count: 2 ** 31 }, /count/],
    ["text where a number belongs", { count: "1" }, /count/],
    ["a null where none may be", { name: null }, /name/],
    ["a list of the wrong size", { direction: [1] }, /direction/],
    ["a column that the port has not", { surplus: 1 }, /surplus/]
  ])("refuses %s by the column's name", async (_, wrong, column) => {
    const [good] = fc.sample(row, { numRuns: 1, seed: 1 })
    const exit = await inStore(Effect.flip(put(Stream.make({ ...good, ...wrong }))))
    expect(Exit.isSuccess(exit) && exit.value).toMatchObject({
      _tag: "ArtifactError",
      reason: "SchemaMismatch"
    })
    expect(Exit.isSuccess(exit) && exit.value.message).toMatch(column)
  })
})
