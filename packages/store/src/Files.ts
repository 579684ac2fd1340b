/**
 * File-system calls as effects whose failures say what, where and what to do.
 */
import { randomBytes, createHash } from "node:crypto"
import { constants, createReadStream } from "node:fs"
import * as fs from "node:fs/promises"
import { dirname, join } from "node:path"
import { pipeline } from "node:stream/promises"
import { Effect } from "effect"
import { StoreError } from "./Errors.js"

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

/** Like `writeAtomically`, with the content of another file, by reference where the file system can. */
export const copyAtomically = (
  temporary: string,
  path: string,
  from: string
): Effect.Effect<Written, StoreError> =>
  publish(temporary, path, "keep", async (partial) => {
    await fs.copyFile(from, partial, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
    await fs.chmod(partial, 0o444)
    const file = await fs.open(partial, "r")
    try {
      await file.sync()
    } finally {
      await file.close()
    }
  })

/** Gives a whole file its name, unless one of that name is there. */
export const link = async (partial: string, path: string): Promise<Written> => {
  await fs.mkdir(dirname(path), { recursive: true })
  try {
    await fs.link(partial, path)
    return "written"
  } catch (cause) {
    if (errorCode(cause) !== "EEXIST") throw cause
    return "existed"
  }
}

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
      if (mode === "replace") {
        await fs.mkdir(dirname(path), { recursive: true })
        await fs.rename(partial, path)
        return "written"
      }
      const written = await link(partial, path)
      await fs.rm(partial)
      return written
    } catch (cause) {
      await fs.rm(partial, { force: true })
      throw cause
    }
  }).pipe(Effect.uninterruptible)

/** Files up to this size are read in one go. */
const SMALL = 1 << 20

/** The digest and size of a file; a large one is read as a stream. */
export const digestFile = (
  path: string
): Effect.Effect<{ readonly digest: string; readonly size: number }, StoreError> =>
  attempt(path, async () => {
    const hash = createHash("sha256")
    const { size } = await fs.stat(path)
    if (size <= SMALL) return { digest: `sha256:${hash.update(await fs.readFile(path)).digest("hex")}`, size }
    const stream = createReadStream(path, { highWaterMark: 1 << 20 })
    await pipeline(stream, hash)
    return { digest: `sha256:${hash.digest("hex")}`, size: stream.bytesRead }
  })
