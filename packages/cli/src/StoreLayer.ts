import { FileStore, type Store, type StoreError } from "@tessera/store"
import type { Layer } from "effect"
import * as path from "node:path"

/** The store in a folder, relative to the current one. */
export const storeLayer = (folder: string): Layer.Layer<Store, StoreError> =>
  FileStore.layer({ root: path.resolve(folder) })
