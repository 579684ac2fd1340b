/** The stages' suite finds what a bad stage does wrong, and nothing in a good one. */
import { spawn } from "node:child_process"
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { int32, type Row, stage, table, tree, utf8 } from "@tessera/core"
import { Context, Data, Effect, Layer, Schema, Stream } from "effect"
import { expect, it } from "vitest"
import { stageChecks } from "../src/index.js"
import { violations } from "./Outcomes.js"

const Words = table("Words/1", { word: utf8, n: int32 })
type Words = Row<typeof Words>
class NoWords extends Data.TaggedError("NoWords")<{ readonly detail: string }> {}
class Shift extends Context.Tag("Shift")<Shift, number>() {}

const Params = Schema.Struct({ by: Schema.optionalWith(Schema.Int, { default: () => 1 }) })
const rows: ReadonlyArray<Words> = [
  { word: "a", n: 1 },
  { word: "b", n: 2 },
  { word: "b", n: 3 }
]
const common = {
  version: "1",
  module: import.meta.url,
  inputs: { words: Words },
  outputs: { words: Words },
  params: Params
} as const

interface Given {
  readonly by: number
  readonly scratch: string
}
/** A stage that adds to each number, with something done first that may change the rows or fail. */
const adding = <E, R>(
  change: (rows: ReadonlyArray<Words>, given: Given) => Effect.Effect<ReadonlyArray<Words>, E, R>
) =>
  stage("adding", {
    ...common,
    run: ({ words }, { by }, { scratch }) =>
      Effect.gen(function* () {
        const read = [...(yield* Stream.runCollect(words.rows))].map((row) => ({ ...row, n: row.n + by }))
        return { words: Stream.fromIterable(yield* change(read, { by, scratch })) }
      })
  })

const fixture = { inputs: { words: rows }, params: {}, each: { words: "word" } } as const
const sync = (change: (rows: ReadonlyArray<Words>, given: Given) => ReadonlyArray<Words>) =>
  adding((rows, given) => Effect.sync(() => change(rows, given)))

const sleeper = () => spawn("sleep", ["60"], { stdio: "ignore" })
const started: Array<ReturnType<typeof sleeper>> = []

it("finds nothing wrong with a good stage: scratch used, a child process ended, no words refused", async () => {
  const good = adding((rows, { scratch }) =>
    Effect.gen(function* () {
      if (rows.length === 0) return yield* new NoWords({ detail: "there are none" })
      writeFileSync(join(scratch, "rows.json"), JSON.stringify(rows))
      yield* Effect.acquireUseRelease(
        Effect.sync(sleeper),
        () => Effect.sleep("30 millis"),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      return rows
    })
  )
  expect(await violations(stageChecks(good, { ...fixture, defaults: { by: 1 } }))).toEqual({})
})

it("gives a stage the services that it needs", async () => {
  const shifted = adding((rows) => Effect.map(Shift, (by) => rows.map((row) => ({ ...row, n: row.n + by }))))
  const checks = Object.entries(stageChecks(shifted, fixture)).map(([title, check]) => [
    title,
    Effect.provide(check, Layer.succeed(Shift, 3))
  ])
  expect(await violations(Object.fromEntries(checks))).toEqual({})
})

let counter = 0

it.each<readonly [string, RegExp, ReturnType<typeof sync>]>([
  [
    "reads the clock",
    /the same again/,
    sync((rows) => rows.map((row) => ({ ...row, word: new Date().toISOString().slice(0, 10) })))
  ],
  [
    "reads the milliseconds",
    /the same again/,
    sync((rows) => rows.map((row) => ({ ...row, n: Date.now() % 1_000_000_007 })))
  ],
  [
    "gives other bytes each time",
    /the same again/,
    sync((rows) => rows.map((row) => ({ ...row, n: counter++ })))
  ],
  [
    "reads the environment",
    /no working folder, home or environment/,
    sync((rows) => rows.map((row) => ({ ...row, word: Object.keys(process.env).sort().join() })))
  ],
  [
    "reads the working folder",
    /no working folder, home or environment/,
    sync((rows) => rows.map((row) => ({ ...row, word: process.cwd() })))
  ],
  [
    "writes into the working folder, where that is not the checkout",
    /leaves nothing there/,
    sync((rows) => {
      if (process.cwd().includes("tessera-bare-")) writeFileSync("left.txt", "x")
      return rows
    })
  ],
  [
    "leaves temporary files",
    /leaves nothing there/,
    sync((rows) => {
      if (process.cwd().includes("tessera-bare-")) mkdtempSync(join(tmpdir(), "left-"))
      return rows
    })
  ],
  [
    "leaves a child process",
    /no process and no scratch/,
    sync((rows) => {
      started.push(sleeper())
      return rows
    })
  ],
  [
    "leaves a grandchild whose parent went",
    /no process and no scratch/,
    adding((rows) =>
      Effect.async<ReadonlyArray<Words>>((resume) => {
        const child = spawn("sh", ["-c", "sleep 3 >/dev/null 2>&1 &"], { stdio: "ignore" })
        child.on("exit", () => resume(Effect.succeed(rows)))
      })
    )
  ],
  [
    "leaves its child process when it is interrupted",
    /when it is interrupted/,
    adding((rows) =>
      Effect.gen(function* () {
        const child = sleeper()
        started.push(child)
        yield* Effect.sleep("400 millis")
        yield* Effect.sync(() => child.kill("SIGKILL"))
        return rows
      })
    )
  ],
  [
    "does not let itself be interrupted",
    /when it is interrupted/,
    adding((rows) => Effect.uninterruptible(Effect.as(Effect.sleep("900 millis"), rows)))
  ],
  [
    "dies of an empty table",
    /an empty table/,
    sync((rows) => {
      if (rows[0] === undefined) throw new TypeError("no first row")
      return rows
    })
  ],
  [
    "fails without a tag",
    /an empty table/,
    adding((rows) =>
      rows.length === 1 ? Effect.fail(new Error("one is too few")) : Effect.succeed(rows)
    ) as never
  ],
  [
    "gives what its port does not have",
    /what its ports declare/,
    sync((rows) => rows.map((row) => ({ ...row, n: 0.5 })))
  ],
  [
    "counts over all rows, though it may be sharded",
    /once per shard/,
    sync((rows) => rows.map((row) => ({ ...row, n: rows.length })))
  ]
])("finds a stage that %s", async (_, title, subject) => {
  const found = await violations(stageChecks(subject, { ...fixture, patience: "300 millis" }), title)
  for (const child of started.splice(0)) child.kill("SIGKILL")
  expect(Object.keys(found), JSON.stringify(found)).toHaveLength(1)
})

const run = () => Effect.succeed({ words: Stream.empty })

it("finds parameters that do not come back", async () => {
  const Forgetful = Schema.transform(Schema.Number, Schema.Number, { decode: (n) => n, encode: (n) => n + 1 })
  const subject = stage("forgetful", { ...common, params: Schema.Struct({ n: Forgetful }), run })
  const checks = stageChecks(subject, { inputs: { words: rows }, params: { n: 1 } })
  expect(Object.keys(await violations(checks, /keeps its parameters/))).toHaveLength(1)
})

it("finds another default than the fixture's", async () => {
  const checks = stageChecks(
    sync((rows) => rows),
    { ...fixture, defaults: { by: 2 } }
  )
  expect(await violations(checks, /keeps its parameters/)).toMatchObject({
    "keeps its parameters through their encoding, defaults applied":
      expect.stringContaining("the default of by")
  })
})

it("finds parameters that take anything", async () => {
  const params = Schema.Record({ key: Schema.String, value: Schema.Unknown })
  const subject = stage("open", { ...common, params, run })
  const checks = stageChecks(subject, { inputs: { words: rows }, params: {} })
  expect(Object.keys(await violations(checks, /does not have/))).toHaveLength(1)
})

it("finds a module that is not there", async () => {
  const subject = stage("lost", { ...common, module: new URL("nowhere.ts", import.meta.url).href, run })
  expect(Object.keys(await violations(stageChecks(subject, fixture), /names the module/))).toHaveLength(1)
})

it("finds a fingerprint that changes, and a device that is not named", async () => {
  const facts = Effect.sync(() => ({ facts: { count: String(counter++) } }))
  const changing = stage("changing", { ...common, fingerprint: facts, run })
  const nameless = stage("nameless", { ...common, reproducible: "device", run })
  for (const subject of [changing, nameless]) {
    const found = await violations(stageChecks(subject, fixture), /says the same of its services/)
    expect(Object.keys(found)).toHaveLength(1)
  }
})

it("reads a tree back by its files", async () => {
  const Folder = tree("Folder/1")
  const subject = stage("copies", {
    ...common,
    inputs: { from: Folder },
    outputs: { folder: Folder },
    params: Schema.Struct({}),
    run: ({ from }) => Effect.succeed({ folder: { folder: from.path } })
  })
  const checks = stageChecks(subject, { inputs: { from: { files: { "deep/a.txt": "a" } } }, params: {} })
  expect(await violations(checks)).toEqual({})
})
