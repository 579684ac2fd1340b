/**
 * `tessera verify`: reads every blob of a store again.
 */
import { Store, StoreError } from "@tessera/store"
import { Effect, Either, Stream } from "effect"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { sharedStoreLayer } from "../StoreLayer.js"

export interface VerifyArgs {
  readonly store: string
  readonly json: boolean
}

/** Every result of the store that is damaged, or whose outputs are not all there. */
const incomplete = Effect.gen(function* () {
  const { actions, maintenance } = yield* Store
  const nodes = new Map<string, string>()
  yield* Stream.runForEach(actions, ({ key, node }) => Effect.sync(() => void nodes.set(key, node)))
  const found = yield* Effect.forEach(
    yield* maintenance.actions,
    ({ key }) =>
      Effect.map(Effect.either(maintenance.check(key)), (checked) =>
        Either.isLeft(checked) ? [{ key, node: nodes.get(key) ?? "a result", why: checked.left.message }] : []
      ),
    { concurrency: 16 }
  )
  return found.flat()
})

export const verify = (args: VerifyArgs) =>
  Effect.gen(function* () {
    const { maintenance, location } = yield* Store
    const blobs = yield* maintenance.blobs
    const checked = yield* Effect.forEach(blobs, ({ digest }) => Effect.either(maintenance.verify(digest)), {
      concurrency: 8
    })
    const damaged = checked.flatMap((one) => (Either.isLeft(one) ? [one.left.message] : []))
    const results = yield* incomplete
    const bytes = blobs.reduce((sum, { size }) => sum + size, 0)
    if (args.json) yield* Output.json({ blobs: blobs.length, bytes, damaged, incomplete: results })
    else {
      yield* Output.out(`${blobs.length} blobs, ${Format.bytes(bytes)}: ${damaged.length} damaged`)
      for (const message of damaged) yield* Output.out(`  ${message}`)
      if (results.length > 0) yield* Output.out(`${results.length} results are not whole:`)
      for (const { key, node, why } of results) yield* Output.out(`  ${node} ${Format.digest(key)}: ${why}`)
    }
    if (damaged.length + results.length > 0) {
      return yield* new StoreError({
        reason: "Corrupt",
        path: location,
        detail: `${damaged.length} damaged blobs, ${results.length} results that are not whole`
      })
    }
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))
