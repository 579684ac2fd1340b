/** Folders that are read in place: digested once, and never taken for what they no longer are. */
import * as fs from "node:fs"
import { join } from "node:path"
import { sha256 } from "@tessera/core"
import { Effect } from "effect"
import { beforeEach, expect, it } from "vitest"
import { at, filesIn, flip, Folder, folder, rewrite, blobFile, type StoreService } from "./Folders.js"

let root = ""
let source = ""
let file = ""
beforeEach(() => {
  root = join(folder(), "s")
  source = folder()
  file = join(source, "a.bin")
  fs.writeFileSync(file, "one")
})
const use = <A, E>(f: (store: StoreService) => Effect.Effect<A, E>) => at(root)(f)
const adopt = (path = source) => use((store) => store.adoptFolder(Folder.id, path))
const digestsOf = (digest: string) =>
  use((store) => Effect.map(store.maintenance.treeFiles(digest), (files) => files.map((one) => one.digest)))

it("a file that looks as it did is not read again", async () => {
  await adopt()
  const [stats = ""] = filesIn(join(root, "stats"))
  const other = sha256("two")
  // Whoever reads the file would find another digest than the one that is remembered here.
  rewrite(stats, (bytes) => bytes.toString().replaceAll(sha256("one"), other))
  expect(await digestsOf((await adopt()).digest)).toEqual([other])
})

it("an edit of equal length right after a file was digested shows, whatever its mtime says", async () => {
  for (let i = 0; i < 10; i++) {
    const before = await adopt()
    const { atime, mtime } = fs.statSync(file)
    fs.writeFileSync(file, `t${i}o`)
    fs.utimesSync(file, atime, mtime)
    const after = await adopt()
    expect(after.digest).not.toBe(before.digest)
    expect(await digestsOf(after.digest)).toEqual([sha256(`t${i}o`)])
  }
})

it("an edit while files are digested is refused, or digested: never one digest for other bytes", async () => {
  fs.writeFileSync(file, Buffer.alloc(40_000_000, 1))
  const digests = [1, 2].map((value) => sha256(Buffer.alloc(40_000_000, value)))
  const adopting = adopt()
  const writer = (async () => {
    const handle = await fs.promises.open(file, "r+")
    await handle.write(Buffer.alloc(40_000_000, 2))
    await handle.close()
  })()
  const adopted = await adopting.then(
    ({ digest }) => digestsOf(digest),
    (error: unknown) => String(error)
  )
  await writer
  if (typeof adopted === "string") expect(adopted).toMatch(/changed while it was digested/)
  else expect(digests).toContain(adopted[0])
  expect(await digestsOf((await adopt()).digest)).toEqual([digests[1]])
})

it("folders that are adopted at once by several processes are all remembered", async () => {
  const folders = Array.from({ length: 6 }, (_, i) => {
    const path = folder()
    fs.writeFileSync(join(path, "a.bin"), `${i}`)
    return path
  })
  const adopted = await Promise.all(folders.map((path) => adopt(path)))
  const remembered = filesIn(join(root, "stats")).map(
    (path) => JSON.parse(fs.readFileSync(path, "utf8")) as { readonly folder: string; readonly files: object }
  )
  expect(remembered.map((stats) => stats.folder).sort()).toEqual([...folders].sort())
  expect(remembered.every(({ files }) => Object.keys(files).length === 1)).toBe(true)
  expect(await Promise.all(folders.map((path) => adopt(path)))).toEqual(adopted)
})

it("what was removed is forgotten, and damaged memory is no memory", async () => {
  fs.writeFileSync(join(source, "b.bin"), "two")
  await adopt()
  fs.rmSync(join(source, "b.bin"))
  const { digest } = await adopt()
  const [stats = ""] = filesIn(join(root, "stats"))
  expect(fs.readFileSync(stats, "utf8")).not.toContain("b.bin")
  rewrite(stats, (bytes) => bytes.subarray(0, 20))
  expect((await adopt()).digest).toBe(digest)
})

it("a file whose copy in the store is damaged is read in place instead", async () => {
  await use((store) => store.putFolder(Folder.id, source))
  const { digest } = await adopt()
  rewrite(blobFile(root, sha256("one")), flip)
  const again = await adopt()
  expect(again.digest).toBe(digest)
  const path = await use((store) =>
    Effect.scoped(Effect.map(store.open(Folder, again), (tree) => join(tree.path, "a.bin")))
  )
  expect(fs.readFileSync(path, "utf8")).toBe("one")
})

it("large files have the digests that their bytes have, also many at once", async () => {
  const sizes = [1, (1 << 20) + 1, (32 << 20) + 5, (33 << 20) + 7]
  for (const size of sizes) fs.writeFileSync(join(source, `${size}`), Buffer.alloc(size, size))
  const expected = [...sizes.map((size) => sha256(Buffer.alloc(size, size))), sha256("one")]
  const found = await digestsOf((await adopt()).digest)
  expect([...found].sort()).toEqual(expected.sort())
})
