/**
 * File-system calls as effects whose failures say what, where and what to do.
 */
import { randomBytes, createHash } from "node:crypto"
import { constants, createReadStream } from "node:fs"
import * as fs from "node:fs/promises"
import { dirname, join } from "node:path"
import { pipeline } from "node:stream/promises"
import { Effect, type Scope } from "effect"
import { StoreError } from "./Errors.js"
import * as HashThreads from "./HashThreads.js"
import type { FileDigest } from "./HashThreads.js"

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

/** A name that no other writer of this store uses. */
export const uniqueName = (): string => `${process.pid}-${randomBytes(8).toString("hex")}`

/** Whether a file was written, or one of its name was there already. */
export type Written = "written" | "existed"

/**
 * Writes a file so that it is there whole or not at all: a temporary file, flushed to the disk, then given its name.
 * `keep`: an existing file of that name wins (content-addressed: it is the same). `replace`: the new one does.
 */
export const writeAtomically = (
  temporary: string,
  path: string,
  content: Uint8Array | string,
  mode: "keep" | "replace"
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
        await fs.mkdir(temporary, { recursive: true })
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

const give = async (partial: string, path: string, mode: "keep" | "replace"): Promise<Written> => {
  await fs.mkdir(dirname(path), { recursive: true })
  if (mode === "replace") {
    await fs.rename(partial, path)
    return "written"
  }
  try {
    await fs.link(partial, path)
    return "written"
  } catch (cause) {
    if (errorCode(cause) !== "EEXIST") throw cause
    return "existed"
  }
}

/** Gives a flushed file on the store's disk a name; with `keep` it has its old one too. */
export const place = (
  partial: string,
  path: string,
  mode: "keep" | "replace"
): Effect.Effect<Written, StoreError> =>
  Effect.uninterruptible(attempt(path, () => give(partial, path, mode)))

const publish = (
  temporary: string,
  path: string,
  mode: "keep" | "replace",
  fill: (partial: string) => Promise<void>
): Effect.Effect<Written, StoreError> =>
  attempt(path, async (): Promise<Written> => {
    const partial = join(temporary, uniqueName())
    try {
      await fs.mkdir(temporary, { recursive: true })
      await fill(partial)
      return await give(partial, path, mode)
    } finally {
      await fs.rm(partial, { force: true })
    }
  }).pipe(Effect.uninterruptible)

/** Files up to this size are read in one go, by this thread. */
const SMALL = 1 << 20
/** Larger ones than this are hashed by another thread. */
const LARGE = 32 << 20

/** The digest and size of a file. */
export const digestFile = (path: string): Effect.Effect<FileDigest, StoreError> =>
  Effect.flatMap(
    attempt(path, () => fs.stat(path)),
    ({ size }) =>
      size > LARGE
        ? Effect.mapError(HashThreads.digest(path), (cause) => storeError(path, cause))
        : attempt(path, async () => {
            const hash = createHash("sha256")
            if (size <= SMALL) {
              const bytes = await fs.readFile(path)
              return { digest: `sha256:${hash.update(bytes).digest("hex")}`, size: bytes.byteLength }
            }
            const stream = createReadStream(path, { highWaterMark: 1 << 20 })
            await pipeline(stream, hash)
            return { digest: `sha256:${hash.digest("hex")}`, size: stream.bytesRead }
          })
  )
