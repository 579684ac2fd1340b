/**
 * The bytes of a Parquet file: in memory or on disk, read by ranges.
 */
import type { Hash } from "node:crypto"
import * as fs from "node:fs/promises"
import { Effect, type Scope } from "effect"
import { asParquetError, parquetError, type ParquetError } from "./Errors.js"

/** A file to read: its path, or its bytes. */
export type Input = string | Uint8Array

export interface ParquetFile {
  /** For messages. */
  readonly name: string
  readonly size: number
  /** Bytes from `start` to `end`, exclusive. Rejects with a ParquetError. */
  readonly read: (start: number, end: number) => Promise<Uint8Array>
}

const inMemory = (bytes: Uint8Array, name: string): ParquetFile => ({
  name,
  size: bytes.byteLength,
  read: (start, end) => Promise.resolve(bytes.subarray(start, end))
})

const onDisk = (path: string, name: string): Effect.Effect<ParquetFile, ParquetError, Scope.Scope> =>
  Effect.gen(function* () {
    const failed = asParquetError(
      "Io",
      { file: name },
      "cannot be read; check that it exists and may be read"
    )
    const handle = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => fs.open(path), catch: failed }),
      (handle) => Effect.promise(() => handle.close())
    )
    const { size } = yield* Effect.tryPromise({ try: () => handle.stat(), catch: failed })
    return {
      name,
      size,
      read: async (start, end) => {
        const bytes = new Uint8Array(end - start)
        let filled = 0
        while (filled < bytes.length) {
          const { bytesRead } = await handle
            .read(bytes, filled, bytes.length - filled, start + filled)
            .catch((cause: unknown) => {
              throw failed(cause)
            })
          if (bytesRead === 0) {
            throw parquetError("Truncated", { file: name }, "became shorter while it was read; read it again")
          }
          filled += bytesRead
        }
        return bytes
      }
    }
  })

export const open = (
  input: Input,
  name: string | undefined
): Effect.Effect<ParquetFile, ParquetError, Scope.Scope> =>
  typeof input === "string" ? onDisk(input, name ?? input) : Effect.succeed(inMemory(input, name ?? "bytes"))

const digestChunk = 4 << 20

/** Feeds a hash with the bytes of a file before `end`. */
export const digest = async (file: ParquetFile, end: number, hash: Hash): Promise<void> => {
  for (let start = 0; start < end; start += digestChunk) {
    hash.update(await file.read(start, Math.min(end, start + digestChunk)))
  }
}
