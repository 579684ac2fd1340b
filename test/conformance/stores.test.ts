/** The stores of this project keep the store's contract. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FileStore, MemoryStore } from "@tessera/store"
import { testStore } from "@tessera/testing"
import { Effect } from "effect"

testStore("in a folder", {
  fresh: Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "store-"))),
      (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
    ),
    (root) => FileStore.layer({ root })
  )
})

testStore("in memory", { fresh: Effect.succeed(MemoryStore.layer), shared: false })
