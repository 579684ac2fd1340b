/**
 * `tessera gc`: what of a store can go, and on demand its removal.
 */
import { type Collection, garbage } from "@tessera/engine"
import { type Garbage, Store } from "@tessera/store"
import { Duration, Effect } from "effect"
import { CliError } from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { storeLayer } from "../StoreLayer.js"

export interface GcArgs {
  readonly keepRuns: number | undefined
  readonly keepDays: number | undefined
  readonly graceHours: number
  readonly delete: boolean
  readonly store: string
  readonly json: boolean
}

/** The collection as it went: what stayed in spite of the plan is kept. */
const withoutStayed = (planned: Collection, gone: Garbage): Collection => {
  const bytes = gone.blobs.reduce((sum, { size }) => sum + size, 0)
  return {
    ...planned,
    ...gone,
    bytes,
    kept: {
      runs: planned.kept.runs + planned.runs.length - gone.runs.length,
      actions: planned.kept.actions + planned.actions.length - gone.actions.length,
      blobs: planned.kept.blobs + planned.blobs.length - gone.blobs.length,
      bytes: planned.kept.bytes + planned.bytes - bytes
    }
  }
}

export const gc = (args: GcArgs) =>
  Effect.gen(function* () {
    const { keepRuns: runs, keepDays: days } = args
    if (runs === undefined && days === undefined) {
      return yield* new CliError({
        reason: "Parameter",
        where: "gc",
        detail: "say what is to be kept",
        hint: "Give --keep-runs n, --keep-days n, or both. Pinned artifacts always stay: tessera pin."
      })
    }
    const store = yield* Store
    const planned = yield* garbage(
      {
        ...(runs === undefined ? {} : { runs }),
        ...(days === undefined ? {} : { age: Duration.days(days) })
      },
      Duration.hours(args.graceHours)
    )
    // What somebody began to use meanwhile stays.
    const gone = args.delete ? yield* store.maintenance.remove(planned, planned.youngest) : planned
    const found = withoutStayed(planned, gone)
    if (args.json) {
      const { kept, bytes } = found
      const digests = found.blobs.map(({ digest }) => digest)
      const { runs, actions } = found
      return yield* Output.json({ deleted: args.delete, runs, actions, blobs: digests, bytes, kept })
    }
    const counts = [
      ["runs", found.runs.length, found.kept.runs],
      ["results", found.actions.length, found.kept.actions],
      ["blobs", found.blobs.length, found.kept.blobs]
    ] as const
    yield* Output.out(
      Format.columns([
        { title: "", cells: [...counts.map(([what]) => what), "size"] },
        {
          title: args.delete ? "removed" : "would go",
          align: "right",
          cells: [...counts.map(([, gone]) => String(gone)), Format.bytes(found.bytes)]
        },
        {
          title: "kept",
          align: "right",
          cells: [...counts.map(([, , kept]) => String(kept)), Format.bytes(found.kept.bytes)]
        }
      ])
    )
    if (!args.delete) yield* Output.out("\nNothing was removed. Add --delete to do it.")
  }).pipe(Effect.provide(storeLayer(args.store)))
