/** What failing disks, killed writers and careless hands leave: told, never served, replaced by what is computed again. */
import * as fs from "node:fs"
import { join } from "node:path"
import { Effect, Exit, Option, Stream } from "effect"
import { beforeEach, describe, expect, it } from "vitest"
import type { Artifact } from "../src/index.js"
import {
  action,
  actionFile,
  age,
  at,
  blobFile,
  filesIn,
  flip,
  Folder,
  keyOf,
  look,
  rewrite,
  storeAndSource,
  type StoreService,
  Words,
  words
} from "./Folders.js"

let root = ""
let source = ""
beforeEach(() => void ({ root, source } = storeAndSource()))
const use = <A, E>(f: (store: StoreService) => Effect.Effect<A, E>) => at(root)(f)

const commit = () =>
  use((store) =>
    Effect.gen(function* () {
      const words_ = yield* store.putTable(Words, words(["one", 1]))
      const files = yield* store.putFolder(Folder.id, source)
      yield* store.putAction(action({ words: words_, files }))
      return { words: words_, files }
    })
  )

const absent = async (why: RegExp) => {
  const { found, told } = await use((store) => look(store))
  expect(found).toEqual(Option.none())
  expect(told).toEqual([expect.stringMatching(why)])
}

const whole = async () => Option.isSome((await use((store) => look(store))).found)

describe("an action file", () => {
  it.each([
    ["empty", () => "", /is not a whole action/],
    ["truncated", (bytes: Buffer) => bytes.subarray(0, bytes.length / 2), /is not a whole action/],
    ["no JSON", () => Buffer.alloc(200), /is not a whole action/],
    [
      "of another manifest under its key",
      (bytes: Buffer) => bytes.toString().replace('"version":"1"', '"version":"2"'),
      /its manifest does not have this key/
    ]
  ])("that is %s counts as absent, told, and is replaced", async (_, change, why) => {
    await commit()
    rewrite(actionFile(root, keyOf("s")), change)
    await absent(why)
    await commit()
    expect(await whole()).toBe(true)
  })

  it("of another key is not believed, though it is whole", async () => {
    const outputs = await commit()
    await use((store) => store.putAction(action(outputs, "other")))
    rewrite(actionFile(root, keyOf("s")), () => fs.readFileSync(actionFile(root, keyOf("other"))))
    await absent(/is the action of another key/)
    const listed = await use((store) => Stream.runCollect(store.actions))
    expect([...listed].map(({ key }) => key)).toEqual([keyOf("other")])
  })

  it("is not published under a key that its manifest does not have", async () => {
    const outputs = await commit()
    const wrong = use((store) => store.putAction({ ...action(outputs), key: keyOf("other") }))
    await expect(wrong).rejects.toThrow(/is not the key of the action's manifest/)
  })
})

describe("a tree", () => {
  const manifest = (files: Artifact) => blobFile(root, files.digest)
  const open = (files: Artifact) =>
    use((store) => Effect.scoped(Effect.map(store.open(Folder, files), ({ path }) => path)))

  it.each([
    ["truncated manifest", (file: string) => rewrite(file, (bytes) => bytes.subarray(0, 30)), /is damaged/],
    ["missing manifest", (file: string) => fs.rmSync(file), /is not in the store/]
  ])("with a %s makes its action absent, told, and comes again", async (_, damage, why) => {
    const { files } = await commit()
    damage(manifest(files))
    await absent(why)
    expect((await commit()).files).toEqual(files)
    expect(await whole()).toBe(true)
    expect(fs.readFileSync(join(await open(files), "a.txt"), "utf8")).toBe("a")
  })

  it.each(["a.txt", "run.sh"])(
    "that was opened before its %s was damaged opens with the file that replaced it",
    async (name) => {
      const { files } = await commit()
      const opened = await open(files)
      // The folder has links to blobs, and copies of what is executable.
      rewrite(blobOf(files, name), flip)
      if (name === "run.sh") rewrite(join(opened, name), flip)
      await absent(/is damaged/)
      await commit()
      expect(await open(files)).toBe(opened)
      expect(fs.readFileSync(join(opened, name))).toEqual(fs.readFileSync(join(source, name)))
    }
  )

  const blobOf = ({ digest }: Artifact, name: string): string => {
    const { files } = JSON.parse(fs.readFileSync(blobFile(root, digest), "utf8")) as {
      readonly files: ReadonlyArray<{ readonly path: string; readonly digest: string }>
    }
    return blobFile(root, files.find(({ path }) => path === name)?.digest ?? "")
  }
})

describe("a damaged blob", () => {
  it("is moved to quarantine, with its bytes, and what is computed again takes its place", async () => {
    const outputs = await commit()
    rewrite(blobFile(root, outputs.words.digest), flip)
    const damaged = fs.readFileSync(blobFile(root, outputs.words.digest))
    await absent(/is damaged.*moved to .*quarantine/)
    expect(filesIn(join(root, "quarantine")).map((file) => fs.readFileSync(file))).toEqual([damaged])
    expect(await commit()).toEqual(outputs)
    expect(await whole()).toBe(true)
  })

  it("that cannot be moved away is replaced all the same", async () => {
    const outputs = await commit()
    rewrite(blobFile(root, outputs.words.digest), flip)
    fs.writeFileSync(join(root, "quarantine"), "a file where the folder should be")
    await absent(/is damaged/)
    expect(await commit()).toEqual(outputs)
    expect(await whole()).toBe(true)
  })
})

describe("a run's log", () => {
  it("that is cut, or holds what is no event, gives the events that are whole", async () => {
    await use((store) => Effect.forEach([1, 2, 3], (a) => store.appendEvent("r", { a }), { discard: true }))
    const log = join(root, "runs/r.jsonl")
    rewrite(log, (bytes) =>
      Buffer.concat([Buffer.from([0xff, 0, 0x0a]), bytes.subarray(0, bytes.length - 3)])
    )
    const events = await use((store) => Stream.runCollect(store.events("r")))
    expect([...events]).toEqual([{ a: 1 }, { a: 2 }])
  })
})

describe("a lease", () => {
  it.each([
    ["empty", ""],
    ["garbage", "\0\0garbage"]
  ])("file that is %s and old is taken over", async (_, content) => {
    fs.mkdirSync(join(root, "leases"), { recursive: true })
    const file = join(root, "leases", keyOf("s").slice("sha256:".length))
    fs.writeFileSync(file, content)
    age(file, 1)
    const taken = await use((store) =>
      Effect.exit(Effect.scoped(Effect.timeout(store.lease(keyOf("s")), "20 seconds")))
    )
    expect(Exit.isSuccess(taken)).toBe(true)
  })
})

describe("a file that changes while it is put", () => {
  it("is stored under the digest of what was stored", async () => {
    const file = join(source, "a.txt")
    const stop = new AbortController()
    const writer = (async () => {
      for (let i = 0; i < 2_000 && !stop.signal.aborted; i++) {
        fs.writeFileSync(file, Buffer.alloc(300_000, i))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    const found = await use((store) =>
      Effect.gen(function* () {
        for (let i = 0; i < 6; i++) yield* store.putFolder(Folder.id, source)
        const blobs = yield* store.maintenance.blobs
        return { blobs: blobs.length }
      })
    )
    stop.abort()
    await writer
    expect(found.blobs).toBeGreaterThan(1)
    const checked = await use((store) =>
      Effect.flatMap(store.maintenance.blobs, (blobs) =>
        Effect.forEach(blobs, ({ digest }) => store.maintenance.verify(digest))
      )
    )
    expect(checked.length).toBe(found.blobs)
  })
})
