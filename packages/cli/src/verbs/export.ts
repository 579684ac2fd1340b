/**
 * `tessera export`: a run as one tar.
 */
import { exportRun } from "@tessera/engine"
import { Effect } from "effect"
import { resolve } from "node:path"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { resolveRun } from "../Reference.js"
import { sharedStoreLayer } from "../StoreLayer.js"

export interface ExportArgs {
  readonly run: string
  readonly output: string
  readonly external: boolean
  readonly store: string
  readonly json: boolean
}

/** The line about files that are not in an archive, if there are any. */
export const leftOutText = ({ files, bytes }: { readonly files: number; readonly bytes: number }): string =>
  files === 0
    ? ""
    : `\nNot in it: ${files} ${files === 1 ? "file" : "files"}, ${Format.bytes(bytes)}, of folders that were read in place.`

export const exportTo = (args: ExportArgs) =>
  Effect.gen(function* () {
    const run = yield* resolveRun(args.run)
    const done = yield* exportRun(run, resolve(args.output), { external: args.external })
    if (args.json) return yield* Output.json(done)
    const { actions, blobs, bytes, leftOut } = done
    yield* Output.out(
      `run ${run}: ${actions} results, ${blobs} blobs, ${Format.bytes(bytes)} in ${args.output}` +
        leftOutText(leftOut) +
        (leftOut.files === 0 ? "" : " Add --external to put them in.")
    )
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))
