/**
 * What a store remembers of earlier keys: their manifests, and the files behind their code.
 */
import { document, type GraphError, type Manifest } from "@tessera/core"
import { Store, type StoreError } from "@tessera/store"
import { DateTime, Effect, Option, Schema } from "effect"
import * as Code from "./Code.js"
import type { Codes } from "./Difference.js"
import { internal, StoredManifest, type Keyed } from "./Keys.js"

const CodeDocument = document("tessera.Code/1", Code.CodeRecord)

export interface Records {
  /** None where the result was collected, or written by another version. */
  readonly manifest: (key: string) => Effect.Effect<Option.Option<Manifest>, StoreError>
  /** The files behind two codes, where they differ. */
  readonly codes: (before: Manifest, now: Pick<Keyed, "manifest" | "code">) => Effect.Effect<Codes>
}

/** The files behind a code digest, where some run remembered them. They only add names to a message. */
export const recorded = (digest: string): Effect.Effect<Code.CodeRecord | undefined, never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const { key } = yield* internal("code", {}, { digest }, CodeDocument.id)
    const action = yield* store.getAction(key)
    const artifact = Option.getOrUndefined(action)?.outputs["code"]
    if (artifact === undefined) return undefined
    const reader = yield* store.open(CodeDocument, artifact)
    return yield* reader.value
  }).pipe(
    Effect.scoped,
    Effect.orElseSucceed(() => undefined)
  )

const decode = Schema.decodeUnknownOption(StoredManifest)

/** Each code is looked up and read once. */
export const make: Effect.Effect<Records, never, Store> = Effect.gen(function* () {
  const store = yield* Store
  const before = yield* Effect.cachedFunction((digest: string) =>
    Effect.provideService(recorded(digest), Store, store)
  )
  const present = new Map<string, Effect.Effect<Code.CodeRecord | undefined>>()
  const now = ({ code, manifest }: Pick<Keyed, "manifest" | "code">) =>
    Effect.suspend(() => {
      const found = present.get(manifest.code)
      if (found !== undefined) return found
      const record = Effect.orElseSucceed(Code.record(code), () => undefined)
      return Effect.flatMap(Effect.cached(record), (cached) => {
        present.set(manifest.code, cached)
        return cached
      })
    })
  return {
    manifest: (key) =>
      Effect.map(
        store.getAction(key),
        Option.flatMap(({ manifest }) => decode(manifest))
      ),
    codes: (old, keyed) =>
      old.code === keyed.manifest.code
        ? Effect.succeed({ before: undefined, after: undefined })
        : Effect.all({ before: before(old.code), after: now(keyed) })
  }
})

/** Keeps the file list behind a code digest, for later explanations. */
export const remember = (run: string, keyed: Keyed): Effect.Effect<void, GraphError | StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const { key, manifest } = yield* internal("code", {}, { digest: keyed.manifest.code }, CodeDocument.id)
    if (Option.isSome(yield* store.getAction(key))) return
    const value = yield* Code.record(keyed.code)
    const code = yield* store.putDocument(CodeDocument, value)
    const startedAt = DateTime.formatIso(yield* DateTime.now)
    yield* store.putAction({
      key,
      manifest,
      outputs: { code },
      run,
      node: "tessera/code",
      startedAt,
      millis: 0
    })
  }).pipe(Effect.catchTags({ EngineError: () => Effect.void, ArtifactError: () => Effect.void }))
