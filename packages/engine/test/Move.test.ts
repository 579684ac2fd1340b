/** Runs that move from store to store. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { document, pipeline, source as sourceOf, stage, tree } from "@tessera/core"
import { Store } from "@tessera/store"
import { Chunk, Effect, Schema, Stream } from "effect"
import { pack } from "tar-stream"
import { describe, expect, it, onTestFinished } from "vitest"
import { exportRun, importRun, Logbook, run } from "../src/index.js"
import { failure, folder, inStore } from "./harness.js"
import { module, ran, sums } from "./stages.js"

const Model = tree("Model/1")
const Size = document("Size/1", Schema.Number)
const measure = stage("measure", {
  version: "1",
  module,
  inputs: { model: Model },
  outputs: { size: Size },
  params: Schema.Struct({}),
  run: ({ model }) => Effect.sync(() => ({ size: fs.statSync(join(model.path, "weights.bin")).size }))
})

const filesIn = (path: string): ReadonlyArray<string> =>
  fs.existsSync(path)
    ? fs
        .readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
    : []

const stored = (root: string) =>
  ["blobs", "actions", "runs", "tmp"].flatMap((part) => filesIn(join(root, part)))

/** A store with a run, and the run's archive. */
const exported = async () => {
  const root = folder()
  const made = await inStore(root, run(sums))
  const file = join(folder(), "run.tar")
  const told = await inStore(root, exportRun(made.run, file))
  return { root, file, made, told }
}

const events = (root: string, id: string) =>
  inStore(root, Effect.map(Stream.runCollect(Logbook.events(id)), Chunk.toReadonlyArray))

/** A small file system in memory, or undefined where this user may not mount one. */
const mount = (size: string): string | undefined => {
  const at = fs.mkdtempSync(join(tmpdir(), "tessera-disk-"))
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", at], { stdio: "ignore" })
  } catch {
    fs.rmdirSync(at)
    return undefined
  }
  onTestFinished(() => {
    execFileSync("umount", [at])
    fs.rmdirSync(at)
  })
  return at
}

describe("an exported run", () => {
  it("is cached, with its log, splits and gathers, in the store that it is imported into", async () => {
    const { root, file, made, told } = await exported()
    const other = folder()
    const added = await inStore(other, importRun(file))
    expect(added).toEqual({
      run: made.run,
      pipeline: "sums",
      actions: told.actions,
      blobs: told.blobs,
      added: { log: true, actions: told.actions, blobs: told.blobs, bytes: expect.any(Number) },
      leftOut: { files: 0, bytes: 0 }
    })
    expect(await events(other, made.run)).toEqual(await events(root, made.run))
    ran.length = 0
    const again = await inStore(other, run(sums))
    expect([again.executed, ran, again.targets]).toEqual([0, [], made.targets])
    // Nothing was left to be split or put together either.
    expect(filesIn(join(other, "actions")).length).toBe(told.actions)
  })

  it("is equal bytes each time, from either store, and brings nothing new the second time", async () => {
    const { root, file, made } = await exported()
    const other = folder()
    await inStore(other, importRun(file))
    const copies = [join(folder(), "b.tar"), join(folder(), "c.tar")] as const
    await inStore(root, exportRun(made.run, copies[0]))
    await inStore(other, exportRun(made.run, copies[1]))
    for (const copy of copies) expect(fs.readFileSync(copy).equals(fs.readFileSync(file))).toBe(true)
    const before = stored(other)
    const { added } = await inStore(other, importRun(file))
    expect(added).toEqual({ log: false, actions: 0, blobs: 0, bytes: 0 })
    expect(stored(other)).toEqual(before)
  })

  it("replaces what the other store has damaged", async () => {
    const { file, made } = await exported()
    const other = folder()
    await inStore(other, importRun(file))
    const [blob = ""] = filesIn(join(other, "blobs"))
    fs.chmodSync(blob, 0o644)
    fs.writeFileSync(blob, "x")
    const { added } = await inStore(other, importRun(file))
    expect(added.blobs).toBe(1)
    expect((await inStore(other, run(sums))).targets).toEqual(made.targets)
  })

  it("leaves out the files of folders that are read in place, unless asked for", async () => {
    const model = folder()
    fs.writeFileSync(join(model, "weights.bin"), Buffer.alloc(100_000, 7))
    const pipe = pipeline("measured", { size: measure({ model: sourceOf(Model, model) }, {}).size })
    const root = folder()
    const made = await inStore(root, run(pipe))
    const [without, with_] = [join(folder(), "a.tar"), join(folder(), "b.tar")] as const
    const small = await inStore(root, exportRun(made.run, without))
    expect(small.leftOut).toEqual({ files: 1, bytes: 100_000 })
    expect(small.bytes).toBeLessThan(100_000)
    const big = await inStore(root, exportRun(made.run, with_, { external: true }))
    expect([big.leftOut.files, big.blobs]).toEqual([0, small.blobs + 1])
    for (const file of [without, with_]) {
      const other = folder()
      expect((await inStore(other, importRun(file))).leftOut.files).toBe(file === without ? 1 : 0)
      expect((await inStore(other, run(pipe))).executed).toBe(0)
    }
  })

  it("is refused, and no file left, where the store lacks a result", async () => {
    const { root, made } = await exported()
    for (const action of filesIn(join(root, "actions"))) fs.rmSync(action)
    const file = join(folder(), "run.tar")
    expect(await failure(root, exportRun(made.run, file))).toMatchObject({
      _tag: "ArchiveError",
      reason: "Incomplete",
      message: expect.stringMatching(/is not whole.*run its pipeline again/)
    })
    expect(fs.existsSync(file)).toBe(false)
  })

  it("that cannot be written leaves no file", async () => {
    const { root, made } = await exported()
    const nowhere = join(folder(), "missing", "run.tar")
    expect(await failure(root, exportRun(made.run, nowhere))).toMatchObject({
      _tag: "StoreError",
      reason: "NotFound"
    })
  })
})

describe("a full disk", () => {
  it("ends an export, which leaves no file, and an import, which leaves the store as it was", async ({
    skip
  }) => {
    const disk = mount("200k")
    if (disk === undefined) return skip("mounting is not permitted")
    const { root, file, made } = await exported()
    const ballast = join(disk, "ballast")
    const fillUp = (left: number) => {
      fs.rmSync(ballast, { force: true })
      const { bavail, bsize } = fs.statfsSync(disk)
      fs.writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - left)))
    }
    fillUp(8_192)
    const noSpace = { _tag: "StoreError", reason: "NoSpace" }
    expect(await failure(root, exportRun(made.run, join(disk, "run.tar")))).toMatchObject(noSpace)
    expect(fs.readdirSync(disk)).toEqual(["ballast"])
    const other = join(disk, "s")
    expect(await failure(other, importRun(file))).toMatchObject(noSpace)
    expect(stored(other)).toEqual([])
    fs.rmSync(ballast)
    expect((await inStore(other, importRun(file))).added.log).toBe(true)
    expect((await inStore(other, run(sums))).executed).toBe(0)
  })
})

describe("an archive", () => {
  const refused = async (file: string) => {
    const other = folder()
    const error = await failure(other, importRun(file))
    expect(stored(other)).toEqual([])
    return error
  }
  const changed = async (change: (bytes: Buffer) => Buffer) => {
    const { file } = await exported()
    fs.writeFileSync(file, change(fs.readFileSync(file)))
    return file
  }

  it.each([
    ["text", () => Buffer.from("no tar\n".repeat(1000)), "NotAnArchive"],
    ["empty", () => Buffer.alloc(0), "NotAnArchive"],
    ["cut in a blob", (bytes: Buffer) => bytes.subarray(0, 3000), "Truncated"],
    ["cut between two entries", (bytes: Buffer) => bytes.subarray(0, 512 * 2), "Truncated"],
    ["cut in its log", (bytes: Buffer) => bytes.subarray(0, bytes.length - 1536), "Truncated"],
    [
      "damaged by one bit of a blob",
      (bytes: Buffer) => {
        const blob = bytes.indexOf("blobs/") + 512
        bytes[blob + 10] = (bytes[blob + 10] ?? 0) ^ 1
        return bytes
      },
      "Damaged"
    ],
    [
      "damaged by one letter of an action",
      (bytes: Buffer) => {
        bytes.write("2", bytes.indexOf('"version":"1"', bytes.indexOf("actions/")) + 11)
        return bytes
      },
      "Damaged"
    ]
  ] as const)("that is %s is refused, and nothing of it becomes visible", async (_, change, reason) => {
    expect(await refused(await changed(change))).toMatchObject({ _tag: "ArchiveError", reason })
  })

  it("that is not there says so", async () => {
    expect(await refused(join(folder(), "no.tar"))).toMatchObject({ _tag: "StoreError", reason: "NotFound" })
  })

  it.each(["../../etc/passwd", "/etc/passwd", "blobs/../x", "runs/../../x.jsonl", "pins/best.json"])(
    "that holds %s is refused",
    async (name) => {
      const { file: whole } = await exported()
      const header = JSON.parse(
        /\{"format".*\}/.exec(fs.readFileSync(whole, "latin1"))?.[0] ?? "{}"
      ) as unknown
      const file = join(folder(), "run.tar")
      const archive = pack()
      archive.entry({ name: "tessera.json" }, JSON.stringify(header))
      archive.entry({ name }, "x")
      archive.finalize()
      const parts: Array<Uint8Array> = []
      for await (const part of archive) parts.push(part as Uint8Array)
      fs.writeFileSync(file, Buffer.concat(parts))
      expect(await refused(file)).toMatchObject({ _tag: "ArchiveError", reason: "Unsafe" })
    }
  )

  it("of another run of the same id is refused", async () => {
    const { file, made } = await exported()
    const other = folder()
    await inStore(
      other,
      Effect.flatMap(Store, (store) => store.appendEvent(made.run, { other: true }))
    )
    expect(await failure(other, importRun(file))).toMatchObject({ reason: "Conflict" })
  })
})
