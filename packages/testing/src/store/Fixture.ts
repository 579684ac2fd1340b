/**
 * What the store's checks put and read.
 */
import {
  bool,
  document,
  float32,
  int32,
  int64,
  key,
  list,
  type Manifest,
  nullable,
  table,
  tree,
  utf8
} from "@tessera/core"
import type { Action, Artifact, Store, StoreError } from "@tessera/store"
import { type Duration, type Effect, Either, type Layer, Schema, type Scope, Stream } from "effect"

export type StoreService = typeof Store.Service

export interface StoreFixture {
  /**
   * Makes a fresh, empty store: a layer that gives one more handle on it each time it is built, as another process would
   * have. It goes with the scope.
   */
  readonly fresh: Effect.Effect<Layer.Layer<Store, StoreError>, unknown, Scope.Scope>
  /** False where each handle is a store of its own, as with a store in memory. Default true. */
  readonly shared?: boolean
  /**
   * Damages a stored blob, as a failing disk would, as far as every copy of it. Default: flips one bit of the file at
   * `blobPath`. A store that heals itself from another copy may still answer, with the undamaged one.
   */
  readonly damage?: (store: StoreService, digest: string) => Effect.Effect<void, unknown>
  /** Takes a stored blob away. Default: removes the file at `blobPath`. */
  readonly lose?: (store: StoreService, digest: string) => Effect.Effect<void, unknown>
  /** How long something that must come may take before it counts as missing. Default 20 seconds. */
  readonly patience?: Duration.DurationInput
}

export const Words = table("Words/1", { word: utf8, n: int32 })
export const Narrow = table("Narrow/1", { word: utf8 })
export const OtherWords = table("Other/1", { word: int32 })
export const Kinds = table("Kinds/1", {
  name: nullable(utf8),
  big: int64,
  ratio: float32,
  on: bool,
  list: list(int32)
})
export const Note = document("Note/1", Schema.Struct({ text: Schema.String, n: Schema.Number }))
export const Folder = tree("Folder/1")

export const words = (...rows: ReadonlyArray<readonly [string, number]>) =>
  Stream.fromIterable(rows.map(([word, n]) => ({ word, n })))

const manifestOf = (name: string): Manifest => ({
  format: 1,
  stage: name,
  version: "1",
  code: "",
  params: {},
  inputs: {},
  outputs: {},
  environment: {}
})

/** A key that nothing else uses: a store may refuse an action whose key is not that of its manifest. */
export const keyOf = (name: string): string => Either.getOrThrow(key(manifestOf(name)))

export const actionOf = (
  name: string,
  outputs: Readonly<Record<string, Artifact>>,
  startedAt = "2026-01-01T00:00:00.000Z"
): Action => ({
  key: keyOf(name),
  manifest: manifestOf(name),
  outputs,
  run: "run-1",
  node: name,
  startedAt,
  millis: 1
})
