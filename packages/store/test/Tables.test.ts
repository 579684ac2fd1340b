/**
 * Tables pass through the store piece by piece: the pieces must not show.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  arrowSchema,
  recordBatch,
  bool,
  type Fields,
  float32,
  int32,
  int64,
  list,
  nullable,
  sha256,
  type Table,
  table,
  utf8,
  vec
} from "@tessera/core"
import * as Arrow from "apache-arrow"
import { Cause, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import fc from "fast-check"
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest"
import { BATCH_ROWS, FileStore, Store } from "../src/index.js"

let root = ""
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), "tables-"))
})
afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

const use = <A, E>(f: (store: typeof Store.Service) => Effect.Effect<A, E>, folder = root) =>
  Effect.runPromiseExit(
    Effect.provide(Effect.flatMap(Store, f), FileStore.layer({ root: join(folder, "s") }))
  )

type AnyRow = Readonly<Record<string, unknown>>
type AnyTable = Arrow.Table | Stream.Stream<AnyRow>
const put = (store: typeof Store.Service, type: Table<Fields>, content: AnyTable) =>
  store.putTable<never, never>(type, content)

const value = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw new Error(Cause.pretty(exit.cause))
}

const files = (folder: string) =>
  fs
    .readdirSync(join(root, "s", folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())

const Mixed = table("Mixed/1", {
  key: int32,
  name: utf8,
  score: float32,
  big: int64,
  maybe: nullable(float32),
  flag: bool,
  tokens: list(int32),
  words: list(utf8),
  direction: vec(2)
})

const row = fc.record({
  key: fc.integer({ min: 0, max: 3 }),
  name: fc.string({ unit: "binary", maxLength: 6 }),
  score: fc.float(),
  big: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  maybe: fc.option(fc.float()),
  flag: fc.boolean(),
  tokens: fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 4 }),
  words: fc.array(fc.string({ maxLength: 3 }), { maxLength: 2 }),
  direction: fc.tuple(fc.float(), fc.float())
})
/** The whole file at once, value by value, by apache-arrow's own builders and writer. */
const whole = (type: Table<Fields>, rows: ReadonlyArray<AnyRow>): string => {
  const schema = arrowSchema(type)
  const writer = new Arrow.RecordBatchFileWriter()
  writer.reset(undefined, schema)
  for (let from = 0; from < rows.length; from += BATCH_ROWS) {
    const part = rows.slice(from, from + BATCH_ROWS)
    const children = schema.fields.map(({ name, type }) => {
      const builder = Arrow.makeBuilder({ type, nullValues: [null, undefined] })
      for (const row of part) builder.append(row[name])
      return builder.finish().flush()
    })
    writer.write(recordBatch(schema, children, part.length))
  }
  writer.finish()
  return sha256(writer.toUint8Array(true))
}

/** An Arrow table of the rows in chunks that end at the given rows. */
const chunked = (type: Table<Fields>, rows: ReadonlyArray<AnyRow>, ends: ReadonlyArray<number>) => {
  const schema = arrowSchema(type)
  const cuts = [...new Set([...ends.filter((end) => end > 0 && end < rows.length), rows.length])].sort(
    (a, b) => a - b
  )
  return new Arrow.Table(
    schema,
    Object.fromEntries(
      schema.fields.map(({ name, type }) => [
        name,
        new Arrow.Vector(
          cuts.map((to, i) => {
            const builder = Arrow.makeBuilder({ type, nullValues: [null, undefined] })
            for (const row of rows.slice(cuts[i - 1] ?? 0, to)) builder.append(row[name])
            return builder.finish().flush()
          })
        )
      ])
    )
  )
}

const hasMark = (rows: ReadonlyArray<AnyRow>) =>
  JSON.stringify(rows, (_, x: unknown) => (typeof x === "bigint" ? 0 : x)).includes("\ufeff")

describe("a table that is written piece by piece", () => {
  it("has the bytes of one that is encoded whole, however its rows and chunks come", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 30 }).filter((rows) => !hasMark(rows)),
        fc.array(fc.nat(30), { maxLength: 4 }),
        fc.nat(10),
        async (rows, ends, skip) => {
          const content = chunked(Mixed, rows, ends)
          const from = Math.min(skip, rows.length - 1)
          const found = value(
            await use((store) =>
              Effect.all([
                put(store, Mixed, Stream.fromIterable(rows)),
                put(store, Mixed, content),
                put(store, Mixed, content.slice(from))
              ])
            )
          )
          expect(found.map(({ digest }) => digest)).toEqual([
            whole(Mixed, rows),
            whole(Mixed, rows),
            whole(Mixed, rows.slice(from))
          ])
        }
      ),
      { numRuns: 25 }
    )
  })

  it("has the bytes of one that is encoded whole where chunks straddle its batches", async () => {
    const Narrow = table("Narrow/1", { n: int32, x: float32, word: utf8, list: list(float32) })
    const rows = Array.from({ length: BATCH_ROWS + 5 }, (_, n) => ({
      n,
      x: n % 7 === 0 ? NaN : n / 3,
      word: `w${n % 11}`,
      list: n % 5 === 0 ? [n / 9] : []
    }))
    const edges = [BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1]
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.oneof(fc.constantFrom(...edges), fc.nat(rows.length)), { maxLength: 4 }),
        fc.constantFrom(...edges, rows.length),
        async (ends, length) => {
          const part = rows.slice(0, length)
          const [arrow, streamed] = value(
            await use((store) =>
              Effect.all([
                put(store, Narrow, chunked(Narrow, part, ends)),
                put(store, Narrow, Stream.rechunk(Stream.fromIterable(part), 1 + (ends[0] ?? 7)))
              ])
            )
          )
          expect(arrow.digest).toBe(whole(Narrow, part))
          expect(streamed).toEqual(arrow)
        }
      ),
      { numRuns: 2 }
    )
  }, 120_000)

  it("is the same whatever bits its NaNs have, nullable or in lists", async () => {
    const T = table("T/1", { x: float32, maybe: nullable(float32), pair: vec(2), list: list(float32) })
    const odd = () => new Float32Array(Uint32Array.of(0x7fc00001, 0xffc12345, 0x7fc00000, 0x3f800000).buffer)
    const content = (values: Float32Array) => {
      const child = Arrow.makeData({ type: new Arrow.Float32(), length: 4, nullCount: 0, data: values })
      return new Arrow.Table({
        x: new Arrow.Vector([child]),
        maybe: new Arrow.Vector([
          Arrow.makeData({
            type: new Arrow.Float32(),
            length: 4,
            nullCount: 1,
            nullBitmap: Uint8Array.of(0b1011),
            data: values
          })
        ]),
        pair: new Arrow.Vector([
          Arrow.makeData({
            type: new Arrow.FixedSizeList(2, new Arrow.Field("item", new Arrow.Float32(), false)),
            length: 2,
            nullCount: 0,
            child
          }),
          Arrow.makeData({
            type: new Arrow.FixedSizeList(2, new Arrow.Field("item", new Arrow.Float32(), false)),
            length: 2,
            nullCount: 0,
            child
          })
        ]),
        list: new Arrow.Vector([
          Arrow.makeData({
            type: new Arrow.List(new Arrow.Field("item", new Arrow.Float32(), false)),
            length: 4,
            nullCount: 0,
            valueOffsets: Int32Array.of(0, 2, 2, 3, 4),
            child
          })
        ])
      })
    }
    const strange = odd()
    const before = Buffer.from(strange.buffer).toString("hex")
    const [a, b] = value(
      await use((store) =>
        Effect.all([
          put(store, T, content(strange)),
          put(store, T, content(Float32Array.of(NaN, NaN, NaN, 1)))
        ])
      )
    )
    expect(a.digest).toBe(b.digest)
    // The stage's own buffer is left as it was.
    expect(Buffer.from(strange.buffer).toString("hex")).toBe(before)
  })

  it("is read into one buffer, of which its columns are views", async () => {
    const T = table("T/1", { n: int32, x: float32, lists: list(float32) })
    const rows = Array.from({ length: 1000 }, (_, n) => ({ n, x: n / 2, lists: [n, n] }))
    const buffers = value(
      await use((store) =>
        Effect.scoped(
          Effect.gen(function* () {
            const artifact = yield* put(store, T, Stream.fromIterable(rows))
            const content = yield* (yield* store.open(T, artifact)).table
            const data = content.batches.flatMap((batch) => batch.data.children)
            return data.flatMap((column) =>
              [column, ...column.children].flatMap(({ values, valueOffsets }) =>
                [values, valueOffsets].flatMap((view) => (view === undefined ? [] : [view.buffer]))
              )
            )
          })
        )
      )
    )
    expect(buffers.length).toBeGreaterThan(3)
    expect(new Set(buffers).size).toBe(1)
  })

  it("gives its rows again when it is too large to be held", async () => {
    const T = table("T/1", { n: int32, word: utf8 })
    const count = 3 * BATCH_ROWS + 1
    const rows = Stream.map(Stream.range(0, count - 1), (n) => ({ n, word: `word ${n}` }))
    const [size, sum, first] = value(
      await use((store) =>
        Effect.scoped(
          Effect.gen(function* () {
            const artifact = yield* put(store, T, rows)
            const reader = yield* store.open(T, artifact)
            const sum = yield* Stream.runFold(reader.rows, 0, (sum, { n, word }) =>
              word === `word ${n}` ? sum + n : NaN
            )
            // The file is let go when its reader stops early.
            const first = yield* Stream.runCollect(Stream.take(reader.rows, 1))
            return [artifact.size, sum, [...first]] as const
          })
        )
      )
    )
    expect(size).toBeGreaterThan(2 ** 20)
    expect(sum).toBe((count * (count - 1)) / 2)
    expect(first).toEqual([{ n: 0, word: "word 0" }])
  })
})

describe("a table that cannot be written to its end", () => {
  const T = table("T/1", { n: int32 })
  const many = Stream.map(Stream.range(0, 4 * BATCH_ROWS), (n) => ({ n }))

  it("leaves nothing behind when its stream fails", async () => {
    const exit = await use((store) => store.putTable(T, Stream.concat(many, Stream.fail("no more"))))
    expect(exit).toEqual(Exit.fail("no more"))
    expect([files("tmp"), fs.existsSync(join(root, "s/blobs"))]).toEqual([[], false])
  })

  it("leaves nothing behind when a late row does not fit", async () => {
    const exit = await use((store) =>
      Effect.flip(put(store, T, Stream.concat(many, Stream.make({ n: "two" }))))
    )
    expect(value(exit)).toMatchObject({
      reason: "SchemaMismatch",
      message: expect.stringMatching(/rows from 262144 on do not fit/)
    })
    expect([files("tmp"), fs.existsSync(join(root, "s/blobs"))]).toEqual([[], false])
  })

  it("leaves nothing behind when it is interrupted", async () => {
    const exit = await use((store) =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const endless = Stream.concat(
          many,
          Stream.fromEffect(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never))
        )
        const fiber = yield* Effect.fork(put(store, T, endless))
        yield* Deferred.await(started)
        expect(files("tmp")).toHaveLength(1)
        return yield* Fiber.interrupt(fiber)
      })
    )
    expect(Exit.isInterrupted(value(exit))).toBe(true)
    expect([files("tmp"), fs.existsSync(join(root, "s/blobs"))]).toEqual([[], false])
  })

  // A real file system that is too small.
  const disk = fs.mkdtempSync(join(tmpdir(), "disk-"))
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=600k", "tmpfs", disk]).status === 0
  afterAll(() => {
    if (mounted) spawnSync("umount", [disk])
    fs.rmSync(disk, { recursive: true, force: true })
  })
  it.skipIf(!mounted)(
    "says so and leaves nothing behind when the disk is full (needs to mount a tmpfs)",
    async () => {
      const exit = await use((store) => Effect.flip(put(store, T, many)), disk)
      expect(value(exit)).toMatchObject({ _tag: "StoreError", reason: "NoSpace" })
      expect(fs.readdirSync(join(disk, "s/tmp"))).toEqual([])
      // The space is free again.
      const artifact = value(await use((store) => put(store, T, Stream.make({ n: 1 })), disk))
      expect(artifact.rows).toBe(1)
    }
  )
})

describe("a table that is split", () => {
  it("gives each value its rows in order, sorted or not, and comes together to the sorted table", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 25 }).filter((rows) => !hasMark(rows)),
        fc.constantFrom("key", "flag", "big"),
        fc.boolean(),
        async (given, by, sorted) => {
          const before = (a: AnyRow, b: AnyRow) => Number(a[by]) - Number(b[by])
          const rows = sorted ? given.toSorted(before) : given
          const { shards, together } = value(
            await use((store) =>
              Effect.gen(function* () {
                const shards = yield* store.split(yield* put(store, Mixed, Stream.fromIterable(rows)), by)
                const together = yield* store.concat(
                  Mixed,
                  shards.map(({ artifact }) => artifact)
                )
                return { shards, together }
              })
            )
          )
          expect(shards.map(({ artifact }) => artifact.digest)).toEqual(
            shards.map(({ shard }) =>
              whole(
                Mixed,
                rows.filter((row) => String(row[by]) === shard)
              )
            )
          )
          const values = shards.map(({ shard }) => (by === "flag" ? Number(shard === "true") : Number(shard)))
          expect(values).toEqual(values.toSorted((a, b) => a - b))
          expect(together.digest).toBe(whole(Mixed, rows.toSorted(before)))
        }
      ),
      { numRuns: 25 }
    )
  })

  it("fills whole batches again when its shards come together", async () => {
    const T = table("T/1", { shard: int32, n: int32 })
    const n = 2 * BATCH_ROWS + 100
    const content = (order: (i: number) => number) =>
      new Arrow.Table({
        shard: Arrow.makeVector(Int32Array.from({ length: n }, (_, i) => order(i) % 3)),
        n: Arrow.makeVector(Int32Array.from({ length: n }, (_, i) => order(i)))
      })
    const inOrder = Array.from({ length: n }, (_, i) => i).sort((a, b) => (a % 3) - (b % 3) || a - b)
    const [together, sorted, interleaved, fromSorted] = value(
      await use((store) =>
        Effect.gen(function* () {
          const mixed = yield* put(
            store,
            T,
            content((i) => i)
          )
          const sorted = yield* put(
            store,
            T,
            content((i) => inOrder[i] ?? 0)
          )
          const shards = yield* store.split(mixed, "shard")
          const again = yield* store.split(sorted, "shard")
          const together = yield* store.concat(
            T,
            shards.map(({ artifact }) => artifact)
          )
          return [together, sorted, shards, again] as const
        })
      )
    )
    expect(together).toEqual(sorted)
    expect(interleaved).toEqual(fromSorted)
  })
})
