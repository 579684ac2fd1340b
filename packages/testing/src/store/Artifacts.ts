/**
 * Tables, documents and folders: what is put comes back, equal content has equal digests, and what does not fit is refused.
 */
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Fields, Table } from "@tessera/core"
import { type Artifact, Store } from "@tessera/store"
import { Chunk, Deferred, Effect, Fiber, type Scope, Stream } from "effect"
import { type Checks, ensure, refused, same, violated } from "../Check.js"
import { Folder, Kinds, Narrow, Note, OtherWords, type StoreService, Words, words } from "./Fixture.js"

/** The rows that a port gives back. */
export const rowsThrough = <F extends Fields>(store: StoreService, port: Table<F>, artifact: Artifact) =>
  Effect.scoped(
    Effect.flatMap(store.open(port, artifact), ({ rows }) =>
      Effect.map(Stream.runCollect(rows), Chunk.toReadonlyArray)
    )
  )

const kinds = [
  { name: "ä", big: 9007199254740993n, ratio: 0.5, on: true, list: [1, 2] },
  { name: null, big: -1n, ratio: Number.NaN, on: false, list: [] },
  { name: "", big: 0n, ratio: -0, on: true, list: [-5] }
]

const makeFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = await mkdtemp(join(tmpdir(), "tessera-folder-"))
    await mkdir(join(folder, "deep"))
    await writeFile(join(folder, "deep/a.txt"), "a")
    await writeFile(join(folder, "run.sh"), "#!/bin/sh\n", { mode: 0o755 })
    await writeFile(join(folder, "empty"), "")
    return folder
  }),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const pathOf = (store: StoreService, artifact: Artifact) =>
  Effect.map(store.open(Folder, artifact), ({ path }) => path)

export const artifactChecks: Checks<Store | Scope.Scope> = {
  "gives back the rows of a table: nulls, int64 beyond 2^53, NaN, lists, no rows at all": Effect.gen(
    function* () {
      const store = yield* Store
      const artifact = yield* store.putTable(Kinds, Stream.fromIterable(kinds))
      yield* same(artifact.rows, kinds.length, "rows of the artifact")
      yield* same([artifact.kind, artifact.type], ["table", "Kinds/1"], "kind and type of the artifact")
      yield* same(yield* rowsThrough(store, Kinds, artifact), kinds, "rows")
      const none = yield* store.putTable(Words, Stream.empty)
      yield* same(yield* rowsThrough(store, Words, none), [], "rows of an empty table")
    }
  ),

  "gives equal rows equal digests, however they were batched, and other rows others": Effect.gen(
    function* () {
      const store = yield* Store
      const rows = Array.from({ length: 10 }, (_, i): readonly [string, number] => [`w${i}`, i])
      const whole = yield* store.putTable(Words, words(...rows))
      const again = yield* store.putTable(Words, Stream.rechunk(words(...rows), 3))
      yield* same(again, whole, "the same rows in other chunks")
      const arrow = yield* Effect.scoped(Effect.flatMap(store.open(Words, whole), ({ table }) => table))
      const sliced = yield* store.putTable<never, never>(Words, arrow.slice(0, 4).concat(arrow.slice(4)))
      yield* same(sliced, whole, "the same rows as an Arrow table of two batches")
      const other = yield* store.putTable(Words, words(...rows.slice().reverse()))
      yield* ensure(other.digest !== whole.digest, "rows in another order have the same digest")
    }
  ),

  "gives equal documents equal digests, and the value back": Effect.gen(function* () {
    const store = yield* Store
    const first = yield* store.putDocument(Note, { text: "x", n: 1 })
    yield* same(
      yield* store.putDocument(Note, { n: 1, text: "x" }),
      first,
      "the same document, written otherwise"
    )
    const value = yield* Effect.scoped(Effect.flatMap(store.open(Note, first), (reader) => reader.value))
    yield* same(value, { text: "x", n: 1 }, "the value of a document")
  }),

  "gives back the files of a folder, read-only, executable where they were": Effect.gen(function* () {
    const store = yield* Store
    const folder = yield* makeFolder
    const artifact = yield* store.putFolder("Folder/1", folder)
    yield* Effect.promise(() => rm(folder, { recursive: true }))
    const path = yield* pathOf(store, artifact)
    const names = yield* Effect.promise(() => readdir(path, { recursive: true }))
    yield* same(names.sort(), ["deep", "deep/a.txt", "empty", "run.sh"], "files")
    const [text, plain, script] = yield* Effect.promise(() =>
      Promise.all([
        readFile(join(path, "deep/a.txt"), "utf8"),
        stat(join(path, "deep/a.txt")),
        stat(join(path, "run.sh"))
      ])
    )
    yield* same(text, "a", "content")
    yield* same(plain.mode & 0o222, 0, "write permission of a stored file")
    yield* ensure((script.mode & 0o100) !== 0, "an executable file came back without its permission")
  }),

  "gives an adopted folder the digest of a copy, and never its changed content": Effect.gen(function* () {
    const store = yield* Store
    const folder = yield* makeFolder
    const adopted = yield* store.adoptFolder("Folder/1", folder)
    yield* same(yield* store.adoptFolder("Folder/1", folder), adopted, "the same folder adopted again")
    const read = Effect.flatMap(pathOf(store, adopted), (path) =>
      Effect.promise(() => readFile(join(path, "deep/a.txt"), "utf8"))
    )
    yield* same(yield* read, "a", "content of an adopted folder")
    yield* Effect.promise(async () => {
      await rm(join(folder, "deep/a.txt"))
      await writeFile(join(folder, "deep/a.txt"), "other")
    })
    const after = yield* Effect.exit(read)
    if (after._tag === "Success")
      yield* same(after.value, "a", "content under the digest of an adopted folder")
    else yield* refused(after, ["StoreError", "ArtifactError"], "an adopted folder that changed")
    const changed = yield* store.adoptFolder("Folder/1", folder)
    yield* ensure(changed.digest !== adopted.digest, "a changed folder has the digest it had before")
    const copy = yield* store.putFolder("Folder/1", folder)
    yield* same(copy.digest, changed.digest, "digest of a copy of an adopted folder")
  }),

  "splits a table by a column into ascending shards that keep their order, and concatenates them": Effect.gen(
    function* () {
      const store = yield* Store
      const whole = yield* store.putTable(Words, words(["b", 3], ["a", 1], ["b", 2], ["a", 10]))
      const shards = yield* store.split(whole, "word")
      yield* same(
        shards.map(({ shard, artifact }) => [shard, artifact.rows]),
        [
          ["a", 2],
          ["b", 2]
        ],
        "shards by a text column"
      )
      const together = yield* store.concat(
        Words,
        shards.map(({ artifact }) => artifact)
      )
      const sorted = yield* store.putTable(Words, words(["a", 1], ["a", 10], ["b", 3], ["b", 2]))
      yield* same(together, sorted, "the shards together")
      const numbered = yield* store.split(whole, "n")
      yield* same(
        numbered.map(({ shard }) => shard),
        ["1", "2", "3", "10"],
        "shards by a number, in the order of numbers"
      )
      yield* same((yield* store.concat(Words, [])).rows, 0, "rows of no shards together")
      yield* refused(
        store.split(whole, "nothing"),
        ["ArtifactError"],
        "a split by a column that is not there"
      )
    }
  ),

  "reads a table through a narrower port, and refuses another port with a tagged error": Effect.gen(
    function* () {
      const store = yield* Store
      const artifact = yield* store.putTable(Words, words(["one", 1]))
      yield* same(
        yield* rowsThrough(store, Narrow, artifact),
        [{ word: "one" }],
        "rows through a narrower port"
      )
      const mismatch = yield* refused(
        rowsThrough(store, OtherWords, artifact),
        ["ArtifactError"],
        "a port with another column type"
      )
      yield* same(mismatch.reason, "SchemaMismatch", "reason")
      yield* refused(
        Effect.scoped(store.open(Note, artifact)),
        ["ArtifactError"],
        "a table opened as a document"
      )
    }
  ),

  "refuses rows and documents that their port does not have, and keeps nothing of them": Effect.gen(
    function* () {
      const store = yield* Store
      yield* store.putTable(Words, words(["one", 1]))
      const before = yield* blobsOf(store)
      yield* refused(
        store.putTable(Words, Stream.make({ word: 1, n: 1 })),
        ["ArtifactError"],
        "a row of other types"
      )
      yield* refused(
        store.putTable(Words, Stream.make({ word: "one", n: 1, more: 2 })),
        ["ArtifactError"],
        "a row with a surplus column"
      )
      yield* refused(store.putDocument(Note, { text: 1 }), ["ArtifactError"], "a document of another shape")
      yield* refused(
        store.putDocument(Note, { text: "x", n: Number.NaN }),
        ["ArtifactError"],
        "a document that JSON cannot hold"
      )
      yield* same(yield* blobsOf(store), before, "blobs after refusals")
    }
  ),

  "fails with a tagged error for an artifact that is not there": Effect.gen(function* () {
    const store = yield* Store
    const artifact: Artifact = {
      kind: "table",
      type: "Words/1",
      digest: `sha256:${"0".repeat(64)}`,
      size: 1,
      rows: 1
    }
    yield* refused(rowsThrough(store, Words, artifact), ["ArtifactError", "StoreError"], "a missing table")
    yield* refused(store.blobPath(artifact.digest), ["StoreError"], "the path of a missing blob")
    yield* refused(
      Effect.scoped(store.open(Folder, { ...artifact, kind: "tree", type: "Folder/1" })),
      ["ArtifactError", "StoreError"],
      "a missing tree"
    )
  }),

  "keeps nothing of a table whose rows fail or are interrupted": Effect.gen(function* () {
    const store = yield* Store
    yield* store.putTable(Words, words(["one", 1]))
    const before = yield* blobsOf(store)
    const failing = Stream.concat(words(["half", 1]), Stream.fail("broken"))
    const exit = yield* Effect.exit(store.putTable<string, never>(Words, failing))
    yield* ensure(exit._tag === "Failure", "a table whose rows fail was put")
    const reached = yield* Deferred.make<void>()
    const waiting = Stream.concat(
      words(["half", 2]),
      Stream.fromEffect(Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never))
    )
    const fiber = yield* Effect.fork(store.putTable<never, never>(Words, waiting))
    yield* Deferred.await(reached)
    yield* Fiber.interrupt(fiber)
    yield* same(yield* blobsOf(store), before, "blobs after a failure and an interruption")
  }),

  "lends empty scratch folders of their own, and removes them with their scope": Effect.gen(function* () {
    const store = yield* Store
    const used = yield* Effect.scoped(
      Effect.gen(function* () {
        const folders = [yield* store.scratch, yield* store.scratch]
        yield* ensure(folders[0] !== folders[1], "two scratch folders are one")
        for (const folder of folders) {
          yield* same(yield* Effect.promise(() => readdir(folder)), [], "a new scratch folder")
          yield* Effect.promise(async () => {
            await mkdir(join(folder, "sub"))
            await writeFile(join(folder, "sub/file"), "x", { mode: 0o444 })
            await chmod(join(folder, "sub"), 0o755)
          })
        }
        return folders
      })
    )
    for (const folder of used) {
      const there = yield* Effect.isSuccess(Effect.tryPromise(() => stat(folder)))
      if (there) yield* violated(`the scratch folder ${folder} is still there`)
    }
  })
}

/** Digests of all blobs, sorted. */
export const blobsOf = (store: StoreService) =>
  Effect.map(store.maintenance.blobs, (blobs) => blobs.map(({ digest }) => digest).sort())
