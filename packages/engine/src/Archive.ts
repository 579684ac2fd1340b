/**
 * A run as one tar: `tessera.json`, then `blobs/`, then `actions/`, then its log in `runs/`; names in code unit order,
 * times and owners zero, so that equal runs are equal bytes.
 */
import { Data, Schema } from "effect"

/**
 * An archive could not be made or read; a store that it was to be read into is as it was.
 *
 * - `NotAnArchive`: the file is no tar, or none that an export made.
 * - `Truncated`: it ends too early.
 * - `Damaged`: something in it is not what its name or digest says, or is missing.
 * - `Unsafe`: it holds a name that no export writes, such as a path that leads out of a store.
 * - `Incomplete`: the store lacks something of the run that was to be exported.
 * - `Conflict`: the store has another run of that id.
 */
export class ArchiveError extends Data.TaggedError("ArchiveError")<{
  readonly reason: "NotAnArchive" | "Truncated" | "Damaged" | "Unsafe" | "Incomplete" | "Conflict"
  readonly path: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.path}: ${this.detail}`
  }
}

/** What comes first in an archive. */
export const Header = Schema.Struct({
  format: Schema.Literal("tessera.run/1"),
  run: Schema.String,
  pipeline: Schema.String,
  blobs: Schema.Number,
  actions: Schema.Number,
  /** Files of folders read in place, by digest, that were left out. */
  leftOut: Schema.Array(Schema.Struct({ digest: Schema.String, size: Schema.Number }))
})
export type Header = typeof Header.Type

export const HEADER = "tessera.json"

const hex = (digest: string) => digest.replace(/^sha256:/, "")

export const blobName = (digest: string): string => `blobs/${hex(digest)}`
export const actionName = (key: string): string => `actions/${hex(key)}.json`
export const logName = (run: string): string => `runs/${run}.jsonl`

/** What a name in an archive stands for; undefined for any other name. */
export const named = (
  name: string
): { readonly kind: "header" | "blob" | "action" | "log"; readonly id: string } | undefined => {
  if (name === HEADER) return { kind: "header", id: "" }
  const [, blob, action, run] =
    /^(?:blobs\/([0-9a-f]{64})|actions\/([0-9a-f]{64})\.json|runs\/([\w-]{1,100})\.jsonl)$/.exec(name) ?? []
  if (blob !== undefined) return { kind: "blob", id: `sha256:${blob}` }
  if (action !== undefined) return { kind: "action", id: `sha256:${action}` }
  return run === undefined ? undefined : { kind: "log", id: run }
}
