/**
 * The contract of the `Store` service, for every implementation.
 */
import { Store } from "@tessera/store"
import { Context, Effect, Layer, type Scope } from "effect"
import { type Checks, register } from "../Check.js"
import { actionChecks } from "./Actions.js"
import { artifactChecks } from "./Artifacts.js"
import type { StoreFixture } from "./Fixture.js"

/** Every check, each on a store of its own. */
export const storeChecks = (fixture: StoreFixture): Checks => {
  const onFresh = (
    check: (
      another: Effect.Effect<typeof Store.Service, unknown, Scope.Scope>
    ) => Effect.Effect<void, unknown, Store | Scope.Scope>
  ) =>
    Effect.scoped(
      Effect.gen(function* () {
        const layer = yield* fixture.fresh
        const another = Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store))
        yield* Effect.provideServiceEffect(check(another), Store, another)
      })
    )
  const titles = Object.keys(actionChecks(fixture, Effect.never))
  return {
    ...Object.fromEntries(
      Object.entries(artifactChecks).map(([title, check]) => [title, onFresh(() => check)])
    ),
    ...Object.fromEntries(
      titles.map((title) => [
        title,
        onFresh((another) => actionChecks(fixture, another)[title] ?? Effect.dieMessage("no such check"))
      ])
    )
  }
}

/** Registers the checks as vitest tests. */
export const testStore = (name: string, fixture: StoreFixture): void =>
  register(`the store ${name}`, storeChecks(fixture))
