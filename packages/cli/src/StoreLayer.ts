import { FileStore, type Store, type StoreError } from "@tessera/store"
import { Effect, Layer, Option } from "effect"
import * as path from "node:path"
import type { CliError } from "./Failure.js"
import * as Output from "./Output.js"
import * as Remote from "./Remote.js"

/** The store in a folder, relative to the current one. */
export const storeLayer = (folder: string): Layer.Layer<Store, StoreError> =>
  FileStore.layer({ root: path.resolve(folder) })

/**
 * The same in front of the remote store that the environment names, if it names one.
 *
 * @param mode what the verb does; whether the remote is written is for the environment to say too.
 */
export const sharedStoreLayer = (
  folder: string,
  mode: "read" | "read-write"
): Layer.Layer<Store, StoreError | CliError> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const remote = yield* Remote.settings(mode)
      if (Option.isNone(remote)) return storeLayer(folder)
      // Loaded where it is asked for: it takes longer than all of the file store.
      const [{ RemoteStore }, client] = yield* Effect.promise(() =>
        Promise.all([import("@tessera/store/remote"), import("@effect/platform-node/NodeHttpClient")])
      )
      return RemoteStore.layer({
        ...remote.value,
        root: path.resolve(folder),
        onClosing: (detail) => Output.err(detail)
      }).pipe(Layer.provide(client.layerUndici))
    })
  )
