/**
 * Files whose names are their content's digest, written before the digest is known.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { Effect, type Scope, Stream } from "effect"
import type { StoreError } from "./Errors.js"
import { attempt, makeFolder, uniqueName } from "./Files.js"

/** Bytes that are hashed and written at a time; two buffers of it are all that a stream of any length takes. */
const BUFFER = 1 << 20

/** Writes to an open file and hashes exactly what it writes, while the bytes before are still being written. */
const hashingWriter = (file: fs.FileHandle) => {
  const hash = createHash("sha256")
  let filling: Uint8Array = Buffer.allocUnsafeSlow(BUFFER)
  let resting: Uint8Array | undefined
  let filled = 0
  let size = 0
  let writing: Promise<void> = Promise.resolve()
  const flush = async () => {
    const bytes = filling.subarray(0, filled)
    hash.update(bytes)
    await writing
    writing = file.writeFile(bytes)
    // Whoever waits for it next hears of a failure.
    writing.catch(() => {})
    ;[filling, resting] = [resting ?? Buffer.allocUnsafeSlow(BUFFER), filling]
    filled = 0
  }
  return {
    write: async (bytes: Uint8Array) => {
      size += bytes.length
      for (let from = 0; from < bytes.length;) {
        const part = bytes.subarray(from, from + BUFFER - filled)
        filling.set(part, filled)
        filled += part.length
        from += part.length
        if (filled === BUFFER) await flush()
      }
    },
    end: async () => {
      await flush()
      await writing
      await file.sync()
      return { digest: `sha256:${hash.digest("hex")}`, size }
    }
  }
}

/** A whole file, flushed to the disk, that has no name in the store yet. */
export interface Staged {
  readonly digest: string
  readonly size: number
  /** Where it is, until the scope closes. */
  readonly path: string
}

/**
 * Writes a stream of bytes to a temporary file that goes with the scope. Bytes are copied when they are pulled, so that
 * the digest is of what was written even if their owner changes them afterwards.
 */
export const stage = <E, R>(
  temporary: string,
  content: Stream.Stream<Uint8Array, E, R>
): Effect.Effect<Staged, StoreError | E, R | Scope.Scope> =>
  Effect.gen(function* () {
    const partial = join(temporary, uniqueName())
    yield* Effect.addFinalizer(() => Effect.promise(() => fs.rm(partial, { force: true }).catch(() => {})))
    const found = yield* Effect.scoped(
      Effect.gen(function* () {
        const file = yield* Effect.acquireRelease(
          attempt(temporary, async () => {
            await makeFolder(temporary)
            return await fs.open(partial, "wx", 0o444)
          }),
          (file) => Effect.promise(() => file.close().catch(() => {}))
        )
        const writer = hashingWriter(file)
        yield* Stream.runForEach(content, (bytes) =>
          Effect.uninterruptible(attempt(temporary, () => writer.write(bytes)))
        )
        return yield* Effect.uninterruptible(attempt(temporary, writer.end))
      })
    )
    return { ...found, path: partial }
  })
