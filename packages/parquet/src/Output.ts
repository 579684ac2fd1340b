/**
 * Where the bytes of a file go as they are made: collected, or to a file that is there only when it is whole.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import { asParquetError } from "./Errors.js"
import { NO_SUM } from "./Marks.js"

export interface Output {
  /** For messages. */
  readonly name: string
  readonly write: (bytes: Uint8Array) => Promise<void>
  /** Writes the footer, and in it the sum of the whole file where `Marks` left room for it. */
  readonly finish: (footer: Uint8Array) => Promise<void>
}

const hashing = (name: string, take: (bytes: Uint8Array) => Promise<void>): Output => {
  const hash = createHash("sha256")
  return {
    name,
    write: (bytes) => {
      hash.update(bytes)
      return take(bytes)
    },
    finish: (footer) => {
      const sum = hash.update(footer).digest("hex")
      const summed = Buffer.from(footer)
      const at = summed.lastIndexOf(NO_SUM)
      if (at >= 0) summed.write(sum, at)
      return take(summed)
    }
  }
}

/** Keeps copies: writers use their buffers again. */
export const collecting = (name: string): Output & { readonly bytes: () => Uint8Array } => {
  const parts: Array<Buffer> = []
  return {
    ...hashing(name, (bytes) => {
      parts.push(Buffer.from(bytes))
      return Promise.resolve()
    }),
    bytes: () => new Uint8Array(Buffer.concat(parts))
  }
}

export const toHandle = (handle: fs.FileHandle, name: string): Output => {
  const failed = asParquetError(
    "Io",
    { file: name },
    "cannot be written; check the space and the rights there"
  )
  return hashing(name, (bytes) =>
    handle.appendFile(bytes).catch((cause: unknown) => {
      throw failed(cause)
    })
  )
}
