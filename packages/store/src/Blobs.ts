/**
 * Immutable files named by their content, and files outside the store that are read in place.
 */
import { statSync } from "node:fs"
import * as fs from "node:fs/promises"
import { dirname, join } from "node:path"
import { sha256 } from "@tessera/core"
import { Duration, Effect, Either, Schema, type Stream } from "effect"
import { StoreError } from "./Errors.js"
import {
  attempt,
  attemptSync,
  copyAside,
  digestFile,
  place,
  uniqueName,
  writeAtomically,
  type Written
} from "./Files.js"
import type { Layout } from "./Layout.js"
import { stage, type Staged } from "./Staging.js"

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

/** How often a use of a file is noted. Garbage collection counts it as younger than it is by no more than this. */
const NOTED = Duration.minutes(10)

/** Whether a use at this time would not be noted any more. */
export const isStale = (used: number): boolean => Date.now() - used > Duration.toMillis(NOTED)

/**
 * Young again: whoever collects garbage must not take what is about to be used. In a store that cannot be written nobody
 * collects.
 * @returns whether the file is still there
 */
export const touch = (path: string): Effect.Effect<boolean> =>
  attempt(path, () => {
    const now = new Date()
    return fs.utimes(path, now, now)
  }).pipe(
    Effect.as(true),
    Effect.catchAll(({ reason }) => Effect.succeed(reason !== "NotFound"))
  )

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
  /** Gives staged bytes their name. Whether they were not there, or damaged, before. */
  readonly place: (staged: Staged) => Effect.Effect<boolean, StoreError>
  readonly refer: (digest: string, external: External) => Effect.Effect<void, StoreError>
  /** A path to read the blob from: its own, or that of an unchanged file outside. */
  readonly locate: (digest: string) => Effect.Effect<string, StoreError>
  /** The same, only of what is on this machine. */
  readonly here: (digest: string) => Effect.Effect<string, StoreError>
  /** Fails with what is wrong where the blob is missing or does not have its digest. */
  readonly verify: (digest: string) => Effect.Effect<void, StoreError>
  /** Like `verify`, of a blob that is going to be used: whoever collects garbage then takes it for young. */
  readonly use: (digest: string) => Effect.Effect<void, StoreError>
}

export const make = (layout: Layout): Blobs => {
  // Blobs are immutable: once a process has hashed one, it need not again.
  const verified = new Set<string>()

  /** When the store's own file was written or last used, in milliseconds since the epoch; undefined where there is none. */
  const ownFile = (digest: string): Effect.Effect<number | undefined, StoreError> =>
    attemptSync(layout.blob(digest), () => statSync(layout.blob(digest), { throwIfNoEntry: false })?.mtimeMs)

  const locate = (digest: string): Effect.Effect<string, StoreError> =>
    Effect.gen(function* () {
      const own = layout.blob(digest)
      if ((yield* ownFile(digest)) !== undefined) return own
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

  /** Of a blob that is in the store's own folder. */
  const verifyOwn = (digest: string): Effect.Effect<void, StoreError> =>
    Effect.gen(function* () {
      if (verified.has(digest)) return
      const own = layout.blob(digest)
      const found = yield* digestFile(own)
      if (found.digest === digest) {
        verified.add(digest)
        return
      }
      // Out of the way, so that the recomputed blob can take its place; where it cannot be moved, that one replaces it.
      const aside = join(layout.quarantine, `${digest.replace(":", "-")}.${uniqueName()}`)
      const moved = yield* Effect.isSuccess(
        attempt(own, async () => {
          await fs.mkdir(dirname(aside), { recursive: true })
          await fs.rename(own, aside)
        })
      )
      return yield* new StoreError({
        reason: "Corrupt",
        path: own,
        detail: `is damaged (its digest is ${found.digest})${moved ? `; it was moved to ${aside}` : ""}`
      })
    })

  const verify = (digest: string): Effect.Effect<void, StoreError> =>
    Effect.flatMap(locate(digest), (path) =>
      // A file outside was hashed when it was adopted and has not changed since.
      path === layout.blob(digest) ? verifyOwn(digest) : Effect.void
    )

  /** Whether it was written. A blob that is there already is not written again, unless it is damaged: then it makes way for the one at hand. */
  const put = (
    digest: string,
    write: (mode: "keep" | "replace") => Effect.Effect<Written, StoreError>
  ): Effect.Effect<boolean, StoreError> => {
    const whole = Effect.zipRight(touch(layout.blob(digest)), verify(digest))
    return Effect.gen(function* () {
      if ((yield* ownFile(digest)) === undefined && (yield* write("keep")) === "written") return true
      return yield* Effect.catchIf(
        Effect.as(whole, false),
        ({ reason }) => reason === "Corrupt" || reason === "NotFound",
        () => Effect.as(write("replace"), true)
      )
    })
  }

  const placeStaged: Blobs["place"] = ({ digest, path }) =>
    put(digest, (mode) => place(path, layout.blob(digest), mode))

  const putBytes: Blobs["putBytes"] = (bytes) => {
    const digest = sha256(bytes)
    return put(digest, (mode) => writeAtomically(layout.temporary, layout.blob(digest), bytes, mode)).pipe(
      Effect.as({ digest, size: typeof bytes === "string" ? Buffer.byteLength(bytes) : bytes.byteLength })
    )
  }

  return {
    putBytes,
    putStream: (content) =>
      Effect.scoped(
        Effect.gen(function* () {
          const staged = yield* stage(layout.temporary, content)
          yield* placeStaged(staged)
          return { digest: staged.digest, size: staged.size }
        })
      ),
    place: placeStaged,
    locate,
    here: locate,
    verify,
    use: (digest) =>
      Effect.gen(function* () {
        const used = yield* ownFile(digest)
        const isThere = used !== undefined && (!isStale(used) || (yield* touch(layout.blob(digest))))
        // One that was collected in between may be a file outside all the same.
        yield* isThere ? verifyOwn(digest) : verify(digest)
      }),
    putFile: (path) =>
      Effect.scoped(
        Effect.gen(function* () {
          // The digest is that of the copy: the file itself may change meanwhile.
          const copy = yield* copyAside(layout.temporary, path)
          const found = yield* digestFile(copy)
          yield* put(found.digest, (mode) => place(copy, layout.blob(found.digest), mode))
          return found
        })
      ),
    refer: (digest, external) =>
      Effect.asVoid(
        writeAtomically(layout.temporary, layout.external(digest), JSON.stringify(external), "replace")
      )
  }
}
