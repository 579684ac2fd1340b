/**
 * `tessera job`: does one execution that an executor wrote down.
 */
import { readJob, work } from "@tessera/engine"
import { Effect } from "effect"
import { storeLayer } from "../StoreLayer.js"

export const job = (args: { readonly file: string }) =>
  Effect.flatMap(readJob(args.file), (found) =>
    Effect.provide(work(found, args.file), storeLayer(found.store))
  )
