/**
 * Folders in the store: a manifest of files, each a blob.
 */
import * as fs from "node:fs/promises"
import { basename, dirname, join, relative, sep } from "node:path"
import { canonicalJson } from "@tessera/core"
import { Effect, Either, Schema } from "effect"
import { type Artifact, TreeManifest } from "./Action.js"
import type { Blobs } from "./Blobs.js"
import { StoreError } from "./Errors.js"
import { attempt, digestFile, errorCode, storeError, uniqueName } from "./Files.js"
import type { Layout } from "./Layout.js"

type Entry = TreeManifest["files"][number]

const decodeManifest = Schema.decodeUnknownEither(Schema.parseJson(TreeManifest))

/** Regular files under a folder, or a single file, by relative path in code unit order. */
export const listFiles = (
  path: string
): Effect.Effect<
  ReadonlyArray<{ readonly path: string; readonly file: string; readonly executable: boolean }>,
  StoreError
> =>
  attempt(path, async () => {
    const stat = await fs.stat(path).catch((cause: unknown) => {
      throw storeError(path, cause)
    })
    if (stat.isFile()) return [{ path: basename(path), file: path, executable: (stat.mode & 0o100) !== 0 }]
    const found: Array<{ path: string; file: string; executable: boolean }> = []
    for (const entry of await fs.readdir(path, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath ?? entry.path, entry.name)
      // A link inside a model folder (as download caches make them) is its target; one that leads nowhere fails here.
      const real = entry.isSymbolicLink() ? await fs.stat(file) : undefined
      if (!(real?.isFile() ?? entry.isFile())) continue
      const { mode } = real ?? (await fs.stat(file))
      found.push({ path: relative(path, file).split(sep).join("/"), file, executable: (mode & 0o100) !== 0 })
    }
    return found.sort((a, b) => (a.path < b.path ? -1 : 1))
  })

/** Commits the manifest of files whose blobs are there. */
export const commit = (
  blobs: Blobs,
  type: string,
  files: ReadonlyArray<Entry>
): Effect.Effect<Artifact, StoreError> =>
  Effect.gen(function* () {
    const text = canonicalJson({ files }, type)
    if (Either.isLeft(text)) {
      return yield* new StoreError({
        reason: "Invalid",
        path: type,
        detail: text.left.message,
        cause: text.left
      })
    }
    const { digest } = yield* blobs.putBytes(text.right)
    return { kind: "tree", type, digest, size: files.reduce((sum, file) => sum + file.size, 0) }
  })

export const entry = (
  path: string,
  blob: { readonly digest: string; readonly size: number },
  executable: boolean
): Entry => ({
  path,
  ...blob,
  ...(executable ? { executable } : {})
})

export const putFolder = (blobs: Blobs, type: string, folder: string): Effect.Effect<Artifact, StoreError> =>
  Effect.gen(function* () {
    const files = yield* listFiles(folder)
    const entries = yield* Effect.forEach(
      files,
      ({ path, file, executable }) =>
        Effect.map(blobs.putFile(file), (blob) => entry(path, blob, executable)),
      { concurrency: 8 }
    )
    return yield* commit(blobs, type, entries)
  })

export const manifest = (blobs: Blobs, digest: string): Effect.Effect<TreeManifest, StoreError> =>
  Effect.gen(function* () {
    const path = yield* blobs.locate(digest)
    const decoded = decodeManifest(yield* attempt(path, () => fs.readFile(path, "utf8")))
    return yield* Either.isRight(decoded)
      ? Effect.succeed(decoded.right)
      : new StoreError({ reason: "Corrupt", path, detail: "is not the manifest of a tree" })
  })

const unsafe = (path: string) =>
  path === "" ||
  path.startsWith("/") ||
  path.includes("\\") ||
  path.split("/").some((part) => part === ".." || part === "." || part === "")

/** Whether a file of a folder made earlier is still the tree's: a damaged blob that was replaced is not what it was. */
const isStill = (
  layout: Layout,
  folder: string,
  { path, from, digest, executable }: Entry & { readonly from: string }
): Effect.Effect<boolean, StoreError> => {
  const file = join(folder, path)
  if (from !== layout.blob(digest)) return attempt(file, async () => (await fs.readlink(file)) === from)
  if (executable === true) return Effect.map(digestFile(file), (found) => found.digest === digest)
  return attempt(file, async () => {
    const [mine, blob] = await Promise.all([fs.stat(file), fs.stat(from)])
    return mine.ino === blob.ino && mine.dev === blob.dev
  })
}

/** A folder with the tree's files, made once: links to the blobs, which are read-only. */
export const materialise = (
  layout: Layout,
  blobs: Blobs,
  digest: string
): Effect.Effect<string, StoreError> =>
  Effect.gen(function* () {
    const { files } = yield* manifest(blobs, digest)
    const located = yield* Effect.forEach(
      files,
      (file) => Effect.map(blobs.locate(file.digest), (from) => ({ ...file, from })),
      { concurrency: 16 }
    )
    const bad = files.find(({ path }) => unsafe(path))
    if (bad !== undefined) {
      return yield* new StoreError({
        reason: "Invalid",
        path: bad.path,
        detail: "is not a path inside a tree"
      })
    }
    const target = layout.tree(digest)
    const there = yield* Effect.isSuccess(attempt(target, () => fs.access(target)))
    const still = Effect.forEach(located, (file) => isStill(layout, target, file), { concurrency: 16 })
    if (there && (yield* Effect.orElseSucceed(still, () => [false])).every(Boolean)) return target
    const partial = join(layout.temporary, uniqueName())
    yield* attempt(target, async () => {
      try {
        await fs.mkdir(partial, { recursive: true })
        for (const { path, from, digest, executable } of located) {
          const file = join(partial, path)
          await fs.mkdir(dirname(file), { recursive: true })
          if (from !== layout.blob(digest)) await fs.symlink(from, file)
          else if (executable === true) {
            await fs.copyFile(from, file)
            await fs.chmod(file, 0o555)
          } else await fs.link(from, file)
        }
        await fs.mkdir(dirname(target), { recursive: true })
        // Whoever reads the former one goes on in it; what is old in the temporary folder is removed one day.
        if (there) await fs.rename(target, join(layout.temporary, uniqueName()))
        await fs.rename(partial, target)
      } catch (cause) {
        await fs.rm(partial, { recursive: true, force: true })
        // Another process was first: its folder is the same.
        if (errorCode(cause) !== "ENOTEMPTY" && errorCode(cause) !== "EEXIST") throw cause
      }
    })
    return target
  })
