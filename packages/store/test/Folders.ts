/** Stores in temporary folders, and what the tests put into them. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { document, int32, key, type Manifest, table, tree, utf8 } from "@tessera/core"
import { Effect, Either, Schema, Stream } from "effect"
import { onTestFinished } from "vitest"
import { type Action, type Artifact, FileStore, Store } from "../src/index.js"

export const Words = table("Words/1", { word: utf8, n: int32 })
export const Note = document("Note/1", Schema.Struct({ text: Schema.String, n: Schema.Number }))
export const Folder = tree("Folder/1")

export type StoreService = typeof Store.Service

/** An empty folder, gone after the test. */
export const folder = (): string => {
  const made = fs.mkdtempSync(join(tmpdir(), "store-"))
  onTestFinished(() => fs.rmSync(made, { recursive: true, force: true }))
  return made
}

/** Where a store may be, and a folder of files to put into it, gone after the test. */
export const storeAndSource = () => {
  const source = folder()
  fs.writeFileSync(join(source, "a.txt"), "a")
  fs.writeFileSync(join(source, "run.sh"), "#!/bin/sh\n", { mode: 0o755 })
  return { root: join(folder(), "s"), source }
}

/** A small file system of its own in memory, or undefined where this user may not mount one. */
export const mount = (size: string): string | undefined => {
  const at = folder()
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", at], { stdio: "ignore" })
  } catch {
    return undefined
  }
  onTestFinished(() => void execFileSync("umount", [at]))
  return at
}

/** A new store each time: nothing is remembered but what is on the disk. */
export const at =
  (root: string) =>
  <A, E>(f: (store: StoreService) => Effect.Effect<A, E>): Promise<A> =>
    Effect.runPromise(Effect.provide(Effect.flatMap(Store, f), FileStore.layer({ root })))

export const words = (...list: ReadonlyArray<readonly [string, number]>) =>
  Stream.fromIterable(list.map(([word, n]) => ({ word, n })))

const manifestOf = (stage: string): Manifest => ({
  format: 1,
  stage,
  version: "1",
  code: "",
  params: {},
  inputs: {},
  outputs: {},
  environment: {}
})

export const keyOf = (stage: string): string => Either.getOrThrow(key(manifestOf(stage)))

export const action = (
  outputs: Readonly<Record<string, Artifact>>,
  stage = "s",
  startedAt = "2026-01-01T00:00:00.000Z"
): Action => ({
  key: keyOf(stage),
  manifest: manifestOf(stage),
  outputs,
  run: "r",
  node: "n",
  startedAt,
  millis: 1
})

const hex = (digest: string) => digest.slice("sha256:".length)

export const blobFile = (root: string, digest: string): string =>
  join(root, "blobs", hex(digest).slice(0, 2), hex(digest).slice(2))

export const actionFile = (root: string, key: string): string =>
  join(root, "actions", hex(key).slice(0, 2), `${hex(key).slice(2)}.json`)

/** Writes over a file of the store, as a failing disk would: in place. */
export const rewrite = (file: string, change: (bytes: Buffer) => Buffer | string): void => {
  const bytes = fs.readFileSync(file)
  fs.chmodSync(file, 0o644)
  fs.writeFileSync(file, change(bytes))
}

export const flip = (bytes: Buffer): Buffer => {
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
  return bytes
}

/** What the store says of a key, and what it told about damage. */
export const look = (store: StoreService, key = keyOf("s")) =>
  Effect.gen(function* () {
    const told: Array<string> = []
    const found = yield* store.getAction(key, (why) => Effect.sync(() => void told.push(why)))
    return { found, told }
  })

/** Files under a folder. */
export const filesIn = (path: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

/** So many hours ago. */
export const age = (file: string, hours: number): void => {
  const time = new Date(Date.now() - hours * 3_600_000)
  fs.utimesSync(file, time, time)
}
