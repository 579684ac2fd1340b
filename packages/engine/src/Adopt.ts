/**
 * Sources: content from outside that is referred to instead of computed.
 */
import { fileURLToPath } from "node:url"
import { resolve } from "node:path"
import { Store, type StoreError } from "@tessera/store"
import { Effect } from "effect"
import type { Inputs } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"

/** The output of a source node; undefined for others, which run. */
export const adopt = ({ node }: PreparedNode): Effect.Effect<Inputs, StoreError, Store> | undefined => {
  const { source, stage } = node
  if (source === undefined) return undefined
  return Effect.gen(function* () {
    const store = yield* Store
    const path = source instanceof URL ? fileURLToPath(source) : resolve(source)
    const outputs: Record<string, Inputs[string]> = {}
    for (const [port, { id }] of Object.entries(stage.spec.outputs)) {
      outputs[port] = yield* store.adoptFolder(id, path)
    }
    return outputs
  })
}
