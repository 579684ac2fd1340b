/**
 * What an execution left: the record that its key points to, written only after every blob it names.
 */
import { Schema } from "effect"

/** A content-addressed output. Equal digests are equal bytes. */
export const Artifact = Schema.Struct({
  kind: Schema.Literal("table", "document", "tree"),
  /** The contract it was produced under, such as `Influence/1`. */
  type: Schema.String,
  digest: Schema.String,
  /** Bytes of the blob; of a tree, of all its files together. */
  size: Schema.Number,
  /** Rows, of a table. */
  rows: Schema.optional(Schema.Number)
}).annotations({ identifier: "Artifact" })
export type Artifact = typeof Artifact.Type

export const Action = Schema.Struct({
  key: Schema.String,
  /** The manifest whose digest the key is (core's `Manifest`). */
  manifest: Schema.Unknown,
  outputs: Schema.Record({ key: Schema.String, value: Artifact }),
  /** Who made it and how long it took; never part of the key. */
  run: Schema.String,
  node: Schema.String,
  startedAt: Schema.String,
  millis: Schema.Number,
  /** Not computed under this key: somebody vouched that the code of `from` and of this key do the same. */
  accepted: Schema.optional(
    Schema.Struct({ by: Schema.String, why: Schema.String, at: Schema.String, from: Schema.String })
  )
}).annotations({ identifier: "Action" })
export type Action = typeof Action.Type

/** A file of a tree. */
export const TreeEntry = Schema.Struct({
  /** Relative, `/`-separated, sorted by code unit. */
  path: Schema.String,
  digest: Schema.String,
  size: Schema.Number,
  executable: Schema.optional(Schema.Boolean)
}).annotations({ identifier: "TreeEntry" })

/** The blob of a tree artifact: canonical JSON of its entries. */
export const TreeManifest = Schema.Struct({ files: Schema.Array(TreeEntry) })
export type TreeManifest = typeof TreeManifest.Type
