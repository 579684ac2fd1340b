/**
 * Sources: content from outside that is referred to instead of computed.
 */
import { fileURLToPath } from "node:url"
import { resolve } from "node:path"
import { GraphError } from "@tessera/core"
import { Store, type StoreError } from "@tessera/store"
import { Effect } from "effect"
import type { Inputs } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"

/** The output of a source node; undefined for others, which run. */
export const adopt = ({
  name,
  node
}: PreparedNode): Effect.Effect<Inputs, StoreError | GraphError, Store> | undefined => {
  const { source, stage } = node
  if (source === undefined) return undefined
  return Effect.gen(function* () {
    const store = yield* Store
    const path = source instanceof URL ? fileURLToPath(source) : resolve(source)
    const outputs: Record<string, Inputs[string]> = {}
    for (const [port, { id }] of Object.entries(stage.spec.outputs)) {
      outputs[port] = yield* Effect.mapError(store.adoptFolder(id, path), (error) =>
        error.reason === "NotFound" && error.path === path
          ? new GraphError({
              reason: "InvalidParameter",
              where: `source ${name}`,
              detail: `there is no file or folder ${path}`
            })
          : error
      )
    }
    return outputs
  })
}
