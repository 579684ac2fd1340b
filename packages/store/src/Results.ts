/**
 * Stored results: an action counts only with all the blobs that it names.
 */
import { Effect, Option } from "effect"
import type { Action, Artifact } from "./Action.js"
import * as ActionFiles from "./ActionFiles.js"
import type { Blobs } from "./Blobs.js"
import { StoreError } from "./Errors.js"
import type { Layout } from "./Layout.js"
import * as Trees from "./Trees.js"

export interface Results {
  /** What of a key is there and whole; a damaged one is told and absent. */
  readonly get: (
    key: string,
    onDamaged?: (why: string) => Effect.Effect<void>
  ) => Effect.Effect<Option.Option<Action>, StoreError>
  /** Fails with what is wrong. It is no use of the result. */
  readonly check: (key: string) => Effect.Effect<void, StoreError>
}

type Check = (digest: string) => Effect.Effect<void, StoreError>

/** Looks at every one, so that each damaged blob makes way, then fails with the first problem. */
const checkAll = <A>(all: ReadonlyArray<A>, check: (one: A) => Effect.Effect<void, StoreError>) =>
  // No fiber is forked for a single one, which most are.
  Effect.flatMap(Effect.partition(all, check, { concurrency: Math.min(all.length, 8) }), ([[first]]) =>
    first === undefined ? Effect.void : Effect.fail(first)
  )

export const make = (layout: Layout, blobs: Blobs): Results => {
  const output = (check: Check) => (artifact: Artifact) =>
    Effect.zipRight(
      check(artifact.digest),
      artifact.kind === "tree"
        ? Effect.flatMap(Trees.manifest(blobs, artifact.digest), ({ files }) =>
            checkAll(files, ({ digest }) => check(digest))
          )
        : Effect.void
    )
  const whole = (action: Action, check: Check) => checkAll(Object.values(action.outputs), output(check))
  return {
    get: (key, onDamaged = () => Effect.void) =>
      ActionFiles.use(layout, key).pipe(
        Effect.tap((action) => (Option.isSome(action) ? whole(action.value, blobs.use) : Effect.void)),
        Effect.catchIf(
          ({ reason }) => reason === "Corrupt" || reason === "NotFound",
          (error) => Effect.as(onDamaged(error.message), Option.none())
        )
      ),
    check: (key) =>
      Effect.flatMap(ActionFiles.read(layout, key), (action) =>
        Option.isSome(action)
          ? whole(action.value, blobs.verify)
          : new StoreError({ reason: "NotFound", path: key, detail: "there is no such action" })
      )
  }
}
