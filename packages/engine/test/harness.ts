/** Stores to run in, and what the tests look at. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeContext } from "@effect/platform-node"
import { FileStore, type Store } from "@tessera/store"
import { Effect, Exit, Layer } from "effect"
import { afterEach, beforeEach } from "vitest"
import type { RunEvent } from "../src/index.js"
import { broken, ran } from "./stages.js"

beforeEach(() => {
  ran.length = 0
  broken.clear()
})

const folders: Array<string> = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** An empty folder, gone after the test. */
export const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "tessera-engine-"))
  folders.push(made)
  return made
}

export const storeAt = (root: string): Layer.Layer<Store> =>
  Layer.orDie(FileStore.layer({ root }).pipe(Layer.provide(NodeContext.layer)))

/** Runs an effect against the store in a folder. */
export const inStore = <A, E>(root: string, effect: Effect.Effect<A, E, Store>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, storeAt(root)))

/** The error of an effect against the store in a folder. */
export const failure = async <A, E>(root: string, effect: Effect.Effect<A, E, Store>): Promise<E> =>
  Effect.runPromise(Effect.flip(Effect.provide(effect, storeAt(root))))

export const exitIn = <A, E>(root: string, effect: Effect.Effect<A, E, Store>): Promise<Exit.Exit<A, E>> =>
  Effect.runPromiseExit(Effect.provide(effect, storeAt(root)))

/** Collects events. */
export const listener = () => {
  const events: Array<RunEvent> = []
  return {
    events,
    onEvent: (event: RunEvent) => Effect.sync(() => void events.push(event)),
    of: <Tag extends RunEvent["_tag"]>(tag: Tag): ReadonlyArray<Extract<RunEvent, { readonly _tag: Tag }>> =>
      events.filter((event): event is Extract<RunEvent, { readonly _tag: Tag }> => event._tag === tag)
  }
}
