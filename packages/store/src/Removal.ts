/**
 * Removing what a caller found to be garbage, while others may begin to use it.
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { Effect, Option } from "effect"
import type { Action } from "./Action.js"
import * as ActionFiles from "./ActionFiles.js"
import type { Blobs } from "./Blobs.js"
import type { StoreError } from "./Errors.js"
import { attempt, errorCode, uniqueName } from "./Files.js"
import type { Layout } from "./Layout.js"
import type { Garbage } from "./Maintenance.js"
import * as Trees from "./Trees.js"

/** Whether there is no such file any more. One that was written or used since `youngest` stays. */
const remove = (layout: Layout, path: string, youngest: number): Effect.Effect<boolean, StoreError> =>
  attempt(path, async () => {
    try {
      if ((await fs.stat(path)).mtimeMs > youngest) return false
      // Whoever uses a file notes that in its time: after it was moved nobody can, so what is seen then is the last word.
      const aside = join(layout.temporary, uniqueName())
      await fs.rename(path, aside)
      const used = (await fs.stat(aside)).mtimeMs > youngest
      if (used) {
        await fs.link(aside, path).catch((cause: unknown) => {
          // Somebody wrote it again.
          if (errorCode(cause) !== "EEXIST") throw cause
        })
      }
      // Read-only: some file systems do not remove such files.
      else await fs.chmod(aside, 0o644)
      await fs.rm(aside)
      return !used
    } catch (cause) {
      if (errorCode(cause) === "ENOENT") return true
      throw cause
    }
  })

/** Digests that actions name, with the files of trees. */
const named = (blobs: Blobs, actions: ReadonlyArray<Action>): Effect.Effect<ReadonlySet<string>> =>
  Effect.gen(function* () {
    const digests = new Set<string>()
    for (const artifact of actions.flatMap(({ outputs }) => Object.values(outputs))) {
      digests.add(artifact.digest)
      if (artifact.kind !== "tree") continue
      const { files } = yield* Effect.orElseSucceed(Trees.manifest(blobs, artifact.digest), () => ({
        files: []
      }))
      for (const { digest } of files) digests.add(digest)
    }
    return digests
  })

/** Folders that were made of trees that are gone. */
const removeFolders = (layout: Layout): Effect.Effect<void, StoreError> =>
  attempt(layout.trees, async () => {
    for (const start of await fs.readdir(layout.trees).catch(() => [])) {
      for (const rest of await fs.readdir(join(layout.trees, start)).catch(() => [])) {
        const blob = layout.blob(`sha256:${start}${rest}`)
        const there = await fs.access(blob).then(
          () => true,
          () => false
        )
        if (!there) await fs.rm(join(layout.trees, start, rest), { recursive: true, force: true })
      }
    }
  })

export const removeGarbage = (
  layout: Layout,
  blobs: Blobs,
  garbage: Garbage,
  youngest: number
): Effect.Effect<Garbage, StoreError> =>
  Effect.gen(function* () {
    yield* attempt(layout.temporary, () => fs.mkdir(layout.temporary, { recursive: true }))
    const removeAll = <A>(items: ReadonlyArray<A>, path: (item: A) => string) =>
      Effect.filter(items, (item) => remove(layout, path(item), youngest), { concurrency: 16 })
    const runs = yield* removeAll(garbage.runs, layout.run)
    const actions = yield* removeAll(garbage.actions, layout.action)
    const went = new Set(actions)
    const stayed = yield* Effect.forEach(
      garbage.actions.filter((key) => !went.has(key)),
      (key) => Effect.orElseSucceed(ActionFiles.read(layout, key), () => Option.none()),
      { concurrency: 16 }
    )
    const used = yield* named(blobs, stayed.flatMap(Option.toArray))
    const unused = garbage.blobs.filter(({ digest }) => !used.has(digest))
    const removed = yield* removeAll(unused, ({ digest }) => layout.blob(digest))
    yield* removeFolders(layout)
    return { runs, actions, blobs: removed }
  })
