/**
 * What an artifact holds, read from the store without the stage that made it.
 */
import { type Artifact, Store, StoreError, TreeManifest } from "@tessera/store"
import * as Arrow from "apache-arrow"
import { Effect, Schema } from "effect"
import { readFile } from "node:fs/promises"
import * as ArrowText from "./ArrowText.js"
import * as Format from "./Format.js"

export type Content =
  | { readonly kind: "table"; readonly table: Arrow.Table }
  | { readonly kind: "document"; readonly value: unknown }
  | { readonly kind: "tree"; readonly files: TreeManifest["files"] }

const decode = {
  table: (bytes: Uint8Array): Content => ({ kind: "table", table: Arrow.tableFromIPC(bytes) }),
  document: (bytes: Uint8Array): Content => ({
    kind: "document",
    value: JSON.parse(new TextDecoder().decode(bytes))
  }),
  tree: (bytes: Uint8Array): Content => ({
    kind: "tree",
    files: Schema.decodeUnknownSync(Schema.parseJson(TreeManifest))(new TextDecoder().decode(bytes)).files
  })
}

export const read = (artifact: Artifact): Effect.Effect<Content, StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const path = yield* store.blobPath(artifact.digest)
    const failed = (reason: "Io" | "Corrupt", detail: string) => (cause: unknown) =>
      new StoreError({ reason, path, detail, cause })
    const bytes = yield* Effect.tryPromise({
      try: () => readFile(path),
      catch: failed("Io", "cannot be read")
    })
    return yield* Effect.try({
      try: () => decode[artifact.kind](bytes),
      catch: failed("Corrupt", `is not the ${artifact.kind} it should be`)
    })
  })

export const pretty = (value: unknown, lines: number): string => {
  const all = (typeof value === "string" ? value : JSON.stringify(value, undefined, 2)).split("\n")
  return all.length <= lines
    ? all.join("\n")
    : `${all.slice(0, lines).join("\n")}\n… ${all.length - lines} more lines (all of them with --json)`
}

const smallTable = 60

/** The text of a result worth reading at the end of a run: a small table, or a document called a report. */
export const report = (
  name: string,
  artifact: Artifact
): Effect.Effect<string | undefined, StoreError, Store> => {
  const small = artifact.kind === "table" && (artifact.rows ?? Infinity) <= smallTable
  const named = artifact.kind === "document" && /report/i.test(`${name} ${artifact.type}`)
  if (!small && !named) return Effect.succeed(undefined)
  return Effect.map(read(artifact), (content) => {
    switch (content.kind) {
      case "table":
        return ArrowText.rows(content.table, smallTable)
      case "document":
        return pretty(content.value, 200)
      case "tree":
        return undefined
    }
  })
}

/** @param size bytes of all files */
export const treeText = (files: TreeManifest["files"]): string =>
  Format.columns([
    { title: "file", cells: files.map(({ path }) => path) },
    { title: "size", align: "right", cells: files.map(({ size }) => Format.bytes(size)) },
    { title: "digest", cells: files.map(({ digest }) => Format.digest(digest)) }
  ])
