/**
 * Where things are in a store's folder.
 */
import { join } from "node:path"
import { sha256 } from "@tessera/core"
import type { Place } from "./Leases.js"

export interface Layout {
  readonly root: string
  readonly blob: (digest: string) => string
  readonly action: (key: string) => string
  readonly lease: (key: string) => string
  /** Leases of the runs that are under way, by their ids. */
  readonly underWay: Place
  readonly run: (id: string) => string
  readonly tree: (digest: string) => string
  readonly external: (digest: string) => string
  readonly pin: (name: string) => string
  readonly blobs: string
  readonly pins: string
  readonly actions: string
  readonly runs: string
  readonly leases: string
  /** Partial files and folders of executions. */
  readonly temporary: string
  /** Blobs that did not have the digest they were stored under. */
  readonly quarantine: string
  /** What the files of an adopted folder looked like when they were digested. */
  readonly stats: (folder: string) => string
  readonly trees: string
}

const hex = (digest: string) => digest.replace(/^sha256:/, "")

export const layout = (root: string): Layout => {
  const sharded = (folder: string, digest: string, suffix = "") =>
    join(root, folder, hex(digest).slice(0, 2), `${hex(digest).slice(2)}${suffix}`)
  return {
    root,
    blob: (digest) => sharded("blobs", digest),
    action: (key) => sharded("actions", key, ".json"),
    lease: (key) => join(root, "leases", hex(key)),
    underWay: {
      leases: join(root, "underway"),
      temporary: join(root, "tmp"),
      lease: (run) => join(root, "underway", run)
    },
    run: (id) => join(root, "runs", `${id}.jsonl`),
    tree: (digest) => sharded("trees", digest),
    external: (digest) => sharded("external", digest, ".json"),
    pin: (name) => join(root, "pins", `${name}.json`),
    blobs: join(root, "blobs"),
    pins: join(root, "pins"),
    actions: join(root, "actions"),
    runs: join(root, "runs"),
    leases: join(root, "leases"),
    temporary: join(root, "tmp"),
    quarantine: join(root, "quarantine"),
    stats: (folder) => join(root, "stats", `${hex(sha256(folder))}.json`),
    trees: join(root, "trees")
  }
}
