/** Disks that are full, or may only be read. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { Effect, Option, Stream } from "effect"
import { describe, expect, it, vi } from "vitest"
import { StoreError } from "../src/index.js"
import {
  action,
  at,
  filesIn,
  Folder,
  folder,
  keyOf,
  look,
  mount,
  Note,
  type StoreService,
  Words,
  words
} from "./Folders.js"

const MISSING = "mounting is not permitted"

/** Leaves so many bytes of a disk free. */
const fill = (disk: string, left: number) => {
  const ballast = join(disk, "ballast")
  fs.rmSync(ballast, { force: true })
  const { bavail, bsize } = fs.statfsSync(disk)
  fs.writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - left)))
}
const free = (disk: string) => fs.rmSync(join(disk, "ballast"))

const many = Stream.map(Stream.range(0, 199_999), (n) => ({ word: `word ${n}`, n }))

describe("a full disk", () => {
  it.for([
    ["in the middle of a large table", (store: StoreService) => store.putTable(Words, many)],
    [
      "in the middle of a tree",
      (store: StoreService) =>
        Effect.suspend(() => {
          const source = folder()
          for (let i = 0; i < 20; i++) fs.writeFileSync(join(source, `${i}`), Buffer.alloc(100_000, i))
          return store.putFolder(Folder.id, source)
        })
    ]
  ] as const)("%s is told, leaves no partial file, and what was there stays", async ([, put], { skip }) => {
    const disk = mount("6m")
    if (disk === undefined) return skip(MISSING)
    const root = join(disk, "s")
    await at(root)((store) =>
      Effect.gen(function* () {
        yield* store.putAction(action({ words: yield* store.putTable(Words, words(["one", 1])) }))
      })
    )
    fill(disk, 300_000)
    const failed = await at(root)((store) => Effect.flip(put(store)))
    expect(failed).toBeInstanceOf(StoreError)
    expect(failed).toMatchObject({ reason: "NoSpace", detail: expect.stringContaining("free some space") })
    // The last of what ran side by side may still be on its way out.
    await vi.waitFor(() => expect(filesIn(join(root, "tmp"))).toEqual([]), { timeout: 10_000 })
    expect(Option.isSome((await at(root)((store) => look(store))).found)).toBe(true)
    const checked = await at(root)((store) =>
      Effect.flatMap(store.maintenance.blobs, (blobs) =>
        Effect.forEach(blobs, ({ digest }) => store.maintenance.verify(digest))
      )
    )
    expect(checked.length).toBeGreaterThan(0)
  })

  it("while an action is written leaves no action, or the earlier one", async ({ skip }) => {
    const disk = mount("1m")
    if (disk === undefined) return skip(MISSING)
    const root = join(disk, "s")
    const note = await at(root)((store) => store.putDocument(Note, { text: "x", n: 1 }))
    await at(root)((store) => store.putAction(action({ note }, "earlier")))
    fill(disk, 0)
    for (const stage of ["earlier", "later"]) {
      const failed = await at(root)((store) => Effect.flip(store.putAction(action({ note }, stage))))
      expect(failed).toMatchObject({ reason: "NoSpace" })
    }
    const found = await at(root)((store) =>
      Effect.forEach(["earlier", "later"], (stage) => look(store, keyOf(stage)))
    )
    expect(found.map((one) => [Option.isSome(one.found), one.told])).toEqual([
      [true, []],
      [false, []]
    ])
  })

  it("while a run is logged fails the next event, and the events before it stay readable", async ({
    skip
  }) => {
    const disk = mount("1m")
    if (disk === undefined) return skip(MISSING)
    const root = join(disk, "s")
    await at(root)((store) => store.appendEvent("r", { n: 0 }))
    fill(disk, 0)
    const failed = await at(root)((store) =>
      Effect.gen(function* () {
        yield* store.appendEvent("r", { text: "x".repeat(100_000) })
        yield* Effect.ignore(store.runs)
        return yield* Effect.flip(store.appendEvent("r", { n: 2 }))
      })
    )
    expect(failed).toMatchObject({ reason: "NoSpace" })
    free(disk)
    const events = await at(root)((store) => Stream.runCollect(store.events("r")))
    expect([...events]).toEqual([{ n: 0 }])
  })
})

describe("a store that can only be read", () => {
  it("answers and opens, takes what it has already, and tells what it cannot log", async ({ skip }) => {
    const disk = mount("4m")
    if (disk === undefined) return skip(MISSING)
    const root = join(disk, "s")
    const source = folder()
    fs.writeFileSync(join(source, "a.txt"), "a")
    const put = (store: StoreService) =>
      Effect.gen(function* () {
        const table = yield* store.putTable(Words, words(["one", 1]))
        const files = yield* store.adoptFolder(Folder.id, source)
        return { table, files }
      })
    const outputs = await at(root)((store) => Effect.tap(put(store), (made) => store.putAction(action(made))))
    fs.rmSync(join(root, "tmp"), { recursive: true })
    execFileSync("mount", ["-o", "remount,ro", disk])

    const { found, told, again, failed, warned } = await at(root)((store) =>
      Effect.scoped(
        Effect.gen(function* () {
          const warnings = yield* store.warnings
          const asked = yield* look(store)
          // Documents and folders that are there need not be written again.
          const files = yield* store.adoptFolder(Folder.id, source)
          yield* store.appendEvent("r", { n: 1 })
          const warned = yield* Stream.runHead(warnings)
          yield* store.appendEvent("r", { n: 2 })
          const failed = yield* Effect.flip(store.putDocument(Note, { text: "new", n: 1 }))
          return { ...asked, again: files, failed, warned: Option.getOrUndefined(warned) }
        })
      )
    )
    expect([Option.getOrUndefined(found)?.outputs, told, again]).toEqual([outputs, [], outputs.files])
    expect(failed).toMatchObject({ reason: "ReadOnly" })
    expect(warned).toMatch(/read-only; what runs do here is not logged/)
  })
})
