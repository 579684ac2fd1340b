import * as fs from "node:fs"
import { join } from "node:path"
import { type Fields, int32, type Table, table, utf8 } from "@tessera/core"
import { Effect, Option, Stream } from "effect"
import { beforeEach, describe, expect, it } from "vitest"
import type { Artifact } from "../src/index.js"
import {
  action,
  actionFile,
  at,
  blobFile as blobFileIn,
  Folder,
  folder,
  look as lookIn,
  Note,
  rewrite,
  type StoreService,
  Words,
  words
} from "./Folders.js"

let root = ""
beforeEach(() => void (root = folder()))

const use = <A, E>(f: (store: StoreService) => Effect.Effect<A, E>) => at(join(root, "s"))(f)
const blobFile = (digest: string) => blobFileIn(join(root, "s"), digest)

describe("an action", () => {
  const commit = () =>
    use((store) =>
      Effect.gen(function* () {
        const a = yield* store.putTable(Words, words(["one", 1]))
        const b = yield* store.putDocument(Note, { text: "two", n: 2 })
        yield* store.putAction(action({ a, b }))
        return { a, b }
      })
    )
  const look = () => use((store) => lookIn(store))

  it("is found again with all it says", async () => {
    const outputs = await commit()
    expect((await look()).found).toEqual(Option.some(action(outputs)))
  })

  it.each([
    ["a flipped bit", (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === 40 ? byte ^ 1 : byte)))],
    ["a cut", (bytes: Buffer) => bytes.subarray(0, bytes.length - 3)]
  ])("whose blobs have %s is absent, told, and recommits whole", async (_, damage) => {
    const outputs = await commit()
    for (const { digest } of Object.values(outputs)) rewrite(blobFile(digest), damage)
    const { found, told } = await look()
    expect(found).toEqual(Option.none())
    expect(told.join()).toMatch(/is damaged/)
    expect(await commit()).toEqual(outputs)
    expect((await look()).found).toEqual(Option.some(action(outputs)))
  })

  it("whose blob is gone, or whose own file is cut, is absent and told", async () => {
    const { a } = await commit()
    fs.rmSync(blobFile(a.digest))
    expect(await look()).toMatchObject({ found: Option.none(), told: [expect.stringContaining(a.digest)] })
    await commit()
    rewrite(actionFile(join(root, "s"), action({}).key), (bytes) => bytes.subarray(0, 20))
    expect(await look()).toMatchObject({
      found: Option.none(),
      told: [expect.stringMatching(/not a whole action/)]
    })
  })

  it("of others finds a damaged blob of equal content replaced when it is committed again", async () => {
    const { a } = await commit()
    rewrite(blobFile(a.digest), (bytes) => Buffer.from(bytes.map((byte) => byte ^ 1)))
    // Nobody looked at the damaged blob before.
    await use((store) => store.putTable(Words, words(["one", 1])))
    expect((await look()).found).not.toEqual(Option.none())
  })
})

describe("folders", () => {
  const make = () => {
    const folder = join(root, "folder")
    fs.mkdirSync(join(folder, "deep"), { recursive: true })
    fs.writeFileSync(join(folder, "deep/a.txt"), "a")
    fs.writeFileSync(join(folder, "run.sh"), "#!/bin/sh\n", { mode: 0o755 })
    return folder
  }
  const open = (artifact: Artifact) =>
    use((store) => Effect.scoped(Effect.map(store.open(Folder, artifact), ({ path }) => path)))

  it("come back with their files, read-only, executable where they were", async () => {
    const folder = make()
    const artifact = await use((store) => store.putFolder("Folder/1", folder))
    fs.rmSync(folder, { recursive: true })
    const path = await open(artifact)
    expect(fs.readFileSync(join(path, "deep/a.txt"), "utf8")).toBe("a")
    expect(fs.statSync(join(path, "deep/a.txt")).mode & 0o222).toBe(0)
    expect(fs.statSync(join(path, "run.sh")).mode & 0o111).not.toBe(0)
  })

  it("that are adopted are not copied, have the digest of a copy, and are refused once changed", async () => {
    const folder = make()
    const adopted = await use((store) => store.adoptFolder("Folder/1", folder))
    // The manifest alone.
    expect(fs.readdirSync(join(root, "s/blobs")).length).toBe(1)
    expect((await use((store) => store.putFolder("Folder/1", folder))).digest).toBe(adopted.digest)
  })

  it("that changed under a run say so", async () => {
    const folder = make()
    const artifact = await use((store) => store.adoptFolder("Folder/1", folder))
    fs.writeFileSync(join(folder, "deep/a.txt"), "another")
    await expect(open(artifact)).rejects.toThrow(/changed since it was digested/)
    const again = await use((store) => store.adoptFolder("Folder/1", folder))
    expect(again.digest).not.toBe(artifact.digest)
  })
})

describe("tables", () => {
  it("split by a column into ascending shards that keep their order, and come together again", async () => {
    const rows = [
      ["b", 3],
      ["a", 1],
      ["b", 2],
      ["a", 4]
    ] as const
    const { shards, together, sorted } = await use((store) =>
      Effect.gen(function* () {
        const whole = yield* store.putTable(Words, words(...rows))
        const shards = yield* store.split(whole, "word")
        const together = yield* store.concat(
          Words,
          shards.map(({ artifact }) => artifact)
        )
        const sorted = yield* store.putTable(Words, words(["a", 1], ["a", 4], ["b", 3], ["b", 2]))
        return { shards, together, sorted }
      })
    )
    expect(shards.map(({ shard, artifact }) => [shard, artifact.rows])).toEqual([
      ["a", 2],
      ["b", 2]
    ])
    expect(together).toEqual(sorted)
  })

  it("are read through a narrower port, and refused by another, by the column's name", async () => {
    const Narrow = table("Narrow/1", { word: utf8 })
    const Other = table("Other/1", { word: int32 })
    const artifact = await use((store) => store.putTable(Words, words(["one", 1])))
    const read = <F extends Fields>(port: Table<F>) =>
      use((store) =>
        Effect.scoped(
          Effect.flatMap(store.open(port, artifact), ({ table }) => Effect.map(table, (t) => t.numRows))
        )
      )
    expect(await read(Narrow)).toBe(1)
    await expect(read(Other)).rejects.toThrow(/column word is Utf8, not Int32/)
  })
})

it("a document with a number that JSON cannot hold is refused", async () => {
  await expect(use((store) => store.putDocument(Note, { text: "x", n: Number.NaN }))).rejects.toThrow(/NaN/)
})

it("a torn last line of a run's log is left out", async () => {
  await use((store) => Effect.zipRight(store.appendEvent("r", { a: 1 }), store.appendEvent("r", { a: 2 })))
  fs.appendFileSync(join(root, "s/runs/r.jsonl"), '{"a": 3')
  const events = await use((store) => Stream.runCollect(store.events("r")))
  expect([...events]).toEqual([{ a: 1 }, { a: 2 }])
})
