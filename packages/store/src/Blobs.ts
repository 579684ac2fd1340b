/**
 * Immutable files named by their content, and files outside the store that are read in place.
 */
import * as fs from "node:fs/promises"
import { dirname, join } from "node:path"
import { sha256 } from "@tessera/core"
import { Effect, Either, Schema, type Stream } from "effect"
import { StoreError } from "./Errors.js"
import {
  attempt,
  copyAtomically,
  digestFile,
  errorCode,
  uniqueName,
  writeAtomically,
  type Written
} from "./Files.js"
import type { Layout } from "./Layout.js"
import { stage } from "./Staging.js"

/** A file outside the store, and what it looked like when it was digested. */
export const External = Schema.Struct({
  path: Schema.String,
  size: Schema.Number,
  inode: Schema.String,
  modified: Schema.String,
  changed: Schema.String
})
export type External = typeof External.Type

export const statOf = (path: string): Effect.Effect<External, StoreError> =>
  attempt(path, async () => {
    const stat = await fs.stat(path, { bigint: true })
    return {
      path,
      size: Number(stat.size),
      inode: `${stat.ino}`,
      modified: `${stat.mtimeNs}`,
      changed: `${stat.ctimeNs}`
    }
  })

export const sameFile = (a: External, b: External): boolean =>
  a.size === b.size && a.inode === b.inode && a.modified === b.modified && a.changed === b.changed

const decodeExternal = Schema.decodeUnknownEither(Schema.parseJson(External))

export interface Blobs {
  readonly putBytes: (
    bytes: Uint8Array | string
  ) => Effect.Effect<{ readonly digest: string; readonly size: number }, StoreError>
  /** Bytes that are hashed and written as they come; where the stream fails or is interrupted, nothing of it remains. */
  readonly putStream: <E, R>(
    content: Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<{ readonly digest: string; readonly size: number }, StoreError | E, R>
  readonly putFile: (
    path: string
  ) => Effect.Effect<{ readonly digest: string; readonly size: number }, StoreError>
  readonly refer: (digest: string, external: External) => Effect.Effect<void, StoreError>
  /** A path to read the blob from: its own, or that of an unchanged file outside. */
  readonly locate: (digest: string) => Effect.Effect<string, StoreError>
  /** The same, only of what is on this machine. */
  readonly here: (digest: string) => Effect.Effect<string, StoreError>
  /** Fails with what is wrong where the blob is missing or does not have its digest. */
  readonly verify: (digest: string) => Effect.Effect<void, StoreError>
}

export const make = (layout: Layout): Blobs => {
  // Blobs are immutable: once a process has hashed one, it need not again.
  const verified = new Set<string>()

  const locate = (digest: string): Effect.Effect<string, StoreError> =>
    Effect.gen(function* () {
      const own = layout.blob(digest)
      const there = yield* attempt(own, async () => {
        try {
          await fs.access(own)
          return true
        } catch (cause) {
          if (errorCode(cause) === "ENOENT") return false
          throw cause
        }
      })
      if (there) return own
      const record = yield* attempt(layout.external(digest), () =>
        fs.readFile(layout.external(digest), "utf8")
      ).pipe(
        Effect.mapError(
          (error) =>
            new StoreError({
              reason: error.reason,
              path: own,
              detail: `blob ${digest} is not in the store`,
              cause: error
            })
        )
      )
      const external = decodeExternal(record)
      if (Either.isLeft(external)) {
        return yield* new StoreError({
          reason: "Corrupt",
          path: layout.external(digest),
          detail: "is not a valid record"
        })
      }
      const now = yield* statOf(external.right.path)
      if (!sameFile(now, external.right)) {
        return yield* new StoreError({
          reason: "Corrupt",
          path: external.right.path,
          detail: "changed since it was digested; do not edit a source while a run uses it, run again"
        })
      }
      return external.right.path
    })

  const verify = (digest: string): Effect.Effect<void, StoreError> =>
    Effect.gen(function* () {
      const path = yield* locate(digest)
      const own = layout.blob(digest)
      // A file outside was hashed when it was adopted and has not changed since.
      if (path !== own || verified.has(digest)) return
      const found = yield* digestFile(path)
      if (found.digest === digest) {
        verified.add(digest)
        return
      }
      // Out of the way, so that the recomputed blob can take its place.
      const aside = join(layout.quarantine, `${digest.replace(":", "-")}.${uniqueName()}`)
      yield* attempt(own, async () => {
        await fs.mkdir(dirname(aside), { recursive: true })
        await fs.rename(own, aside)
      })
      return yield* new StoreError({
        reason: "Corrupt",
        path: own,
        detail: `is damaged (its digest is ${found.digest}); it was moved to ${aside}`
      })
    })

  /** Young again: whoever collects garbage must not take what is about to be named. */
  const touch = (digest: string): Effect.Effect<void> =>
    Effect.ignore(
      attempt(layout.blob(digest), async () => {
        const now = new Date()
        await fs.utimes(layout.blob(digest), now, now)
      })
    )

  /** A blob that is there already may be damaged: then it makes way for the one at hand. */
  const put = (digest: string, write: Effect.Effect<Written, StoreError>): Effect.Effect<void, StoreError> =>
    Effect.flatMap(write, (written) =>
      written === "written"
        ? Effect.void
        : Effect.zipRight(touch(digest), verify(digest)).pipe(
            Effect.catchIf(
              ({ reason }) => reason === "Corrupt" || reason === "NotFound",
              () => Effect.asVoid(write)
            )
          )
    )

  const putBytes: Blobs["putBytes"] = (bytes) => {
    const digest = sha256(bytes)
    return put(digest, writeAtomically(layout.temporary, layout.blob(digest), bytes, "keep")).pipe(
      Effect.as({ digest, size: typeof bytes === "string" ? Buffer.byteLength(bytes) : bytes.byteLength })
    )
  }

  return {
    putBytes,
    putStream: (content) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { digest, size, link } = yield* stage(layout.temporary, content)
          yield* put(digest, link(layout.blob(digest)))
          return { digest, size }
        })
      ),
    locate,
    here: locate,
    verify,
    putFile: (path) =>
      Effect.tap(digestFile(path), ({ digest }) =>
        put(digest, copyAtomically(layout.temporary, layout.blob(digest), path))
      ),
    refer: (digest, external) =>
      Effect.asVoid(
        writeAtomically(layout.temporary, layout.external(digest), JSON.stringify(external), "replace")
      )
  }
}
