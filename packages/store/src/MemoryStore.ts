/**
 * A store for tests and throw-away runs: the file store in a folder that goes with the scope.
 */
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import type { StoreError } from "./Errors.js"
import * as FileStore from "./FileStore.js"
import { attempt } from "./Files.js"
import type { Store } from "./Store.js"

export const layer: Layer.Layer<Store, StoreError> = Layer.unwrapScoped(
  Effect.map(
    Effect.acquireRelease(
      attempt(tmpdir(), () => fs.mkdtemp(join(tmpdir(), "tessera-"))),
      (root) => Effect.promise(() => fs.rm(root, { recursive: true, force: true }))
    ),
    (root) => FileStore.layer({ root })
  )
)
