/**
 * `tessera import`: an exported run, into the store.
 */
import { importRun } from "@tessera/engine"
import { Effect } from "effect"
import { resolve } from "node:path"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { storeLayer } from "../StoreLayer.js"
import { leftOutText } from "./export.js"

export interface ImportArgs {
  readonly file: string
  readonly store: string
  readonly json: boolean
}

export const importFrom = (args: ImportArgs) =>
  Effect.gen(function* () {
    const done = yield* importRun(resolve(args.file))
    if (args.json) return yield* Output.json(done)
    const { run, pipeline, added, leftOut } = done
    const isNew = added.log || added.actions > 0 || added.blobs > 0
    yield* Output.out(
      `run ${run} of ${pipeline}: ` +
        (isNew
          ? `new are ${added.actions} of ${done.actions} results, ${added.blobs} of ${done.blobs} blobs (${Format.bytes(added.bytes)})${added.log ? ", its log" : ""}`
          : "nothing new, the store has it all") +
        leftOutText(leftOut)
    )
  }).pipe(Effect.provide(storeLayer(args.store)))
