/** What is in a store's folder, looked at from outside: nothing here goes through the store's own code. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { key as keyOf, type Manifest } from "@tessera/core"
import { Action, TreeManifest } from "@tessera/store"
import { Effect, Schema } from "effect"

export interface Found {
  /** By key. */
  readonly actions: ReadonlyMap<string, Action>
  /** Digests of blobs that no action names. */
  readonly unnamed: ReadonlyArray<string>
  /** Keys, and the files of their holders. */
  readonly leases: ReadonlyArray<{ readonly key: string; readonly holder: string }>
  readonly temporary: ReadonlyArray<string>
  /** What must never be. */
  readonly wrong: ReadonlyArray<string>
}

const files = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
  } catch {
    return []
  }
}

const decodeAction = Schema.decodeUnknownSync(Schema.parseJson(Action))
const decodeTree = Schema.decodeUnknownSync(Schema.parseJson(TreeManifest))
const digestOf = (file: string) => file.slice(-65).replace("/", "")

export const check = (root: string): Found => {
  const wrong: Array<string> = []
  const blobs = new Map<string, { readonly file: string; readonly size: number }>()
  for (const file of files(join(root, "blobs"))) {
    const digest = `sha256:${digestOf(file)}`
    const bytes = readFileSync(file)
    blobs.set(digest, { file, size: bytes.length })
    const is = createHash("sha256").update(bytes).digest("hex")
    if (digest !== `sha256:${is}`) wrong.push(`${file} has the digest ${is}`)
  }
  const named = new Set<string>()
  const actions = new Map<string, Action>()
  for (const file of files(join(root, "actions"))) {
    try {
      const action = decodeAction(readFileSync(file, "utf8"))
      actions.set(action.key, action)
      const key = Effect.runSync(keyOf(action.manifest as Manifest))
      if (key !== action.key) wrong.push(`${file} has the key ${action.key}, its manifest ${key}`)
      if (!file.endsWith(`${key.slice(7, 9)}/${key.slice(9)}.json`)) wrong.push(`${file} has the key ${key}`)
      const need = (digest: string, size: number | undefined) => {
        named.add(digest)
        const blob = blobs.get(digest)
        if (blob === undefined) wrong.push(`${file} names ${digest}, which is not there`)
        else if (size !== undefined && size !== blob.size)
          wrong.push(`${file} names ${digest} with ${size} bytes instead of ${blob.size}`)
        return blob
      }
      for (const { digest, kind, size } of Object.values(action.outputs)) {
        const blob = need(digest, kind === "tree" ? undefined : size)
        if (kind !== "tree" || blob === undefined) continue
        for (const entry of decodeTree(readFileSync(blob.file, "utf8")).files) need(entry.digest, entry.size)
      }
    } catch (cause) {
      wrong.push(`${file}: ${String(cause)}`)
    }
  }
  for (const file of files(join(root, "runs"))) {
    // The last line may be torn.
    for (const line of readFileSync(file, "utf8").split("\n").slice(0, -1)) {
      try {
        JSON.parse(line)
      } catch {
        wrong.push(`${file} has the line ${line}`)
      }
    }
  }
  return {
    actions,
    unnamed: [...blobs.keys()].filter((digest) => !named.has(digest)),
    leases: files(join(root, "leases")).map((file) => ({
      key: `sha256:${file.split("/").at(-2)}`,
      holder: file.split("/").at(-1) ?? ""
    })),
    temporary: statSync(root, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(join(root, "tmp")),
    wrong
  }
}

/** Results by key, without who made them. */
export const results = (found: Found): Readonly<Record<string, Action["outputs"]>> =>
  Object.fromEntries([...found.actions].map(([key, { outputs }]) => [key, outputs]))
