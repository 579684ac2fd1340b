/**
 * File-system calls as effects whose failures say what, where and what to do.
 */
import { createHash } from "node:crypto"
import { constants, createReadStream, readFileSync, statSync } from "node:fs"
import * as fs from "node:fs/promises"
import { dirname, join } from "node:path"
import { pipeline } from "node:stream/promises"
import { sha256 } from "@tessera/core"
import { Effect, type Scope } from "effect"
import { StoreError } from "./Errors.js"
import * as HashThreads from "./HashThreads.js"
import type { FileDigest } from "./HashThreads.js"
import { uniqueName } from "./Owner.js"

const explain = (code: string | undefined): readonly [StoreError["reason"], string] => {
  switch (code) {
    case "ENOENT":
      return ["NotFound", "there is no such file"]
    case "ENOSPC":
    case "EDQUOT":
      return [
        "NoSpace",
        "the disk is full; free some space or choose another store, then run again: finished results are kept"
      ]
    case "EROFS":
      return ["ReadOnly", "the file system is read-only; choose a store that can be written"]
    case "EACCES":
    case "EPERM":
      return ["Permission", "permission denied; choose a store that you may write"]
    case "ENOTDIR":
    case "EEXIST":
      return ["Invalid", "a file is where a folder should be; choose another place for the store"]
    default:
      return ["Io", "the file system failed"]
  }
}

export const errorCode = (cause: unknown): string | undefined =>
  (cause as NodeJS.ErrnoException | undefined)?.code

/** What a failed call of the file system means. */
export const storeError = (path: string, cause: unknown): StoreError => {
  if (cause instanceof StoreError) return cause
  const [reason, words] = explain(errorCode(cause))
  const detail = reason === "Io" && cause instanceof Error ? `${words}: ${cause.message}` : words
  return new StoreError({ reason, path, detail, cause })
}

export const attempt = <A>(path: string, run: () => Promise<A>): Effect.Effect<A, StoreError> =>
  Effect.tryPromise({ try: run, catch: (cause) => storeError(path, cause) })

/**
 * Like `attempt`, for what takes microseconds on a local disk: a walk through threads and back takes ten times as long,
 * and a run that is all cached is made of such calls.
 */
export const attemptSync = <A>(path: string, run: () => A): Effect.Effect<A, StoreError> =>
  Effect.try({ try: run, catch: (cause) => storeError(path, cause) })

export { uniqueName } from "./Owner.js"

/** Makes a folder and those around it. On a read-only file system node reports a missing folder: the reason is asked for. */
export const makeFolder = async (path: string): Promise<void> => {
  try {
    await fs.mkdir(path, { recursive: true })
  } catch (cause) {
    if (errorCode(cause) !== "ENOENT" || dirname(path) === path) throw cause
    await makeFolder(dirname(path))
    await fs.mkdir(path).catch((again: unknown) => {
      if (errorCode(again) !== "EEXIST") throw again
    })
  }
}

/** Whether a file was written, or one of its name was there already. */
export type Written = "written" | "existed"

/**
 * Writes a file so that it is there whole or not at all: a temporary file, flushed to the disk, then given its name.
 * `keep`: an existing file of that name wins (content-addressed: it is the same). `replace`: the new one does.
 * `replace-durably`: it does, and no power cut takes it back.
 *
 * After a power cut a name may be missing that was there, for its folder is not flushed, but none leads to half a file:
 * names follow flushed bytes. An action may so be there without a blob of its own, which readers take for no action.
 */
export const writeAtomically = (
  temporary: string,
  path: string,
  content: Uint8Array | string,
  mode: Mode
): Effect.Effect<Written, StoreError> =>
  publish(temporary, path, mode, async (partial) => {
    const file = await fs.open(partial, "wx", 0o444)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
  })

/** A flushed copy of a file, by reference where the file system can; gone with the scope unless it was given a name. */
export const copyAside = (
  temporary: string,
  from: string
): Effect.Effect<string, StoreError, Scope.Scope> => {
  const partial = join(temporary, uniqueName())
  return Effect.acquireRelease(
    attempt(from, async () => {
      try {
        await makeFolder(temporary)
        await fs.copyFile(from, partial, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
        await fs.chmod(partial, 0o444)
        const file = await fs.open(partial, "r")
        try {
          await file.sync()
        } finally {
          await file.close()
        }
        return partial
      } catch (cause) {
        await fs.rm(partial, { force: true })
        throw cause
      }
    }),
    () => Effect.promise(() => fs.rm(partial, { force: true }))
  )
}

type Mode = "keep" | "replace" | "replace-durably"

const inodeOf = (path: string): Promise<number | undefined> =>
  fs.stat(path).then(
    ({ ino }) => ino,
    () => undefined
  )

/** Flushes the names in a folder to the disk. */
const syncFolder = async (folder: string): Promise<void> => {
  try {
    const file = await fs.open(folder, "r")
    try {
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (cause) {
    // Not every system lets folders be flushed.
    const cannot = ["EINVAL", "EISDIR", "EPERM", "EACCES", "ENOTSUP", "EBADF"]
    if (!cannot.includes(errorCode(cause) ?? "")) throw cause
  }
}

const give = async (partial: string, path: string, mode: Mode): Promise<Written> => {
  const folder = dirname(path)
  const made = await fs.mkdir(folder, { recursive: true })
  const inode = mode === "keep" ? undefined : await inodeOf(partial)
  try {
    await (mode === "keep" ? fs.link(partial, path) : fs.rename(partial, path))
  } catch (cause) {
    const code = errorCode(cause)
    if (code !== (mode === "keep" ? "EEXIST" : "ENOENT")) throw cause
    // Over a network the answer to a request can get lost, and its repetition fails: what counts is what is there.
    const mine = inode ?? (await inodeOf(partial))
    const isThere = mine !== undefined && mine === (await inodeOf(path))
    if (!isThere && mode === "keep") return "existed"
    if (!isThere) throw cause
  }
  if (mode === "replace-durably") {
    await syncFolder(folder)
    if (made !== undefined) await syncFolder(dirname(folder))
  }
  return "written"
}

/** Gives a flushed file on the store's disk a name; with `keep` it has its old one too. */
export const place = (partial: string, path: string, mode: Mode): Effect.Effect<Written, StoreError> =>
  Effect.uninterruptible(attempt(path, () => give(partial, path, mode)))

const publish = (
  temporary: string,
  path: string,
  mode: Mode,
  fill: (partial: string) => Promise<void>
): Effect.Effect<Written, StoreError> =>
  attempt(path, async (): Promise<Written> => {
    const partial = join(temporary, uniqueName())
    try {
      await makeFolder(temporary)
      await fill(partial)
      return await give(partial, path, mode)
    } finally {
      await fs.rm(partial, { force: true })
    }
  }).pipe(Effect.uninterruptible)

/** Files up to this size are read at once, without a way through threads. */
const TINY = 64 << 10
/** Files up to this size are read in one go, by this thread. */
const SMALL = 1 << 20
/** Larger ones than this are hashed by another thread. */
const LARGE = 32 << 20

const digestBytes = (bytes: Uint8Array): FileDigest => ({
  digest: sha256(bytes),
  size: bytes.byteLength
})

/** The digest and size of a file. */
export const digestFile = (path: string): Effect.Effect<FileDigest, StoreError> =>
  Effect.flatMap(
    attemptSync(path, () => statSync(path)),
    ({ size }) =>
      size <= TINY
        ? attemptSync(path, () => digestBytes(readFileSync(path)))
        : size > LARGE
          ? Effect.mapError(HashThreads.digest(path), (cause) => storeError(path, cause))
          : attempt(path, async () => {
              if (size <= SMALL) return digestBytes(await fs.readFile(path))
              const hash = createHash("sha256")
              const stream = createReadStream(path, { highWaterMark: 1 << 20 })
              await pipeline(stream, hash)
              return { digest: `sha256:${hash.digest("hex")}`, size: stream.bytesRead }
            })
  )
