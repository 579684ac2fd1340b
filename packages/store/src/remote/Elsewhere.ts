/**
 * Blobs that a remote has and this machine has not, yet: noted when an action names them, fetched when they are read.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import { dirname, join } from "node:path"
import { Effect, Stream } from "effect"
import type { Blobs } from "../Blobs.js"
import { StoreError } from "../Errors.js"
import { attempt, errorCode, uniqueName, writeAtomically } from "../Files.js"
import type { Layout } from "../Layout.js"
import type { Circuit } from "./Circuit.js"
import { patiently, type Protocol, RemoteError } from "./Protocol.js"

export interface Elsewhere {
  /** Like the store's own, but a blob that is noted counts as there, and is fetched when its path is asked for. */
  readonly blobs: Blobs
  /** Remembers, across runs, that the remote has a blob. */
  readonly note: (digest: string) => Effect.Effect<void, StoreError>
  /** Fetches a blob that may not be noted. */
  readonly fetch: (digest: string) => Effect.Effect<void, StoreError>
  /** Blobs that this process could not get: it must not rely on them again. */
  readonly lost: ReadonlySet<string>
  /** Blobs whose bytes at the remote were found to be wrong: to be sent again, though they seem to be there. */
  readonly damaged: Set<string>
}

export interface Options {
  readonly layout: Layout
  readonly own: Blobs
  /** A folder for what is known of this remote. */
  readonly folder: string
  readonly protocol: Protocol
  readonly circuit: Circuit
  readonly warn: (detail: string) => Effect.Effect<void>
}

const hex = (digest: string) => digest.replace(/^sha256:/, "")

/** Downloads at once. */
const DOWNLOADS = 8

export const make = ({ layout, own, folder, protocol, circuit, warn }: Options): Elsewhere => {
  const damaged = new Set<string>()
  // What this process could not get: its action must count as absent from then on, or nobody would compute it.
  const lost = new Set<string>()
  const downloads = Effect.unsafeMakeSemaphore(DOWNLOADS)
  const single = new Map<string, Effect.Semaphore>()

  const noteOf = (digest: string) => join(folder, "blobs", hex(digest).slice(0, 2), hex(digest).slice(2))
  const isNoted = (digest: string): Effect.Effect<boolean> =>
    lost.has(digest)
      ? Effect.succeed(false)
      : Effect.isSuccess(attempt(noteOf(digest), () => fs.access(noteOf(digest))))
  const forget = (digest: string) =>
    Effect.ignore(attempt(noteOf(digest), () => fs.rm(noteOf(digest), { force: true })))

  /** To a temporary file, hashed on the way; it gets its name only if it has its digest. */
  const download = (
    digest: string
  ): Effect.Effect<"whole" | "absent" | "damaged", StoreError | RemoteError> =>
    Effect.gen(function* () {
      const partial = join(layout.temporary, uniqueName())
      const file = yield* Effect.acquireRelease(
        attempt(partial, async () => {
          await fs.mkdir(layout.temporary, { recursive: true })
          return fs.open(partial, "wx", 0o444)
        }),
        (file) =>
          Effect.promise(async () => {
            await file.close().catch(() => {})
            await fs.rm(partial, { force: true })
          })
      )
      const hash = createHash("sha256")
      const found = yield* protocol.read("cas", hex(digest), (body) =>
        Stream.runForEach(body, (part) =>
          attempt(partial, () => {
            hash.update(part)
            return file.writeFile(part)
          })
        )
      )
      if (!found) return "absent"
      if (`sha256:${hash.digest("hex")}` !== digest) return "damaged"
      yield* attempt(layout.blob(digest), async () => {
        await file.sync()
        await fs.mkdir(dirname(layout.blob(digest)), { recursive: true })
        await fs.link(partial, layout.blob(digest)).catch((cause: unknown) => {
          if (errorCode(cause) !== "EEXIST") throw cause
        })
      })
      return "whole"
    }).pipe(Effect.scoped, patiently)

  const cannot = (digest: string, why: string, cause?: unknown) =>
    Effect.zipRight(
      Effect.sync(() => void lost.add(digest)),
      new StoreError({
        reason: "NotFound",
        path: layout.blob(digest),
        detail: `is not in the store, and the remote ${why}; run again: what made it is computed`,
        cause
      })
    )

  const fetch = (digest: string): Effect.Effect<void, StoreError> =>
    Effect.suspend(() => {
      const one = single.get(digest) ?? Effect.unsafeMakeSemaphore(1)
      single.set(digest, one)
      return Effect.gen(function* () {
        // Another fiber may have fetched it while this one waited.
        if (yield* Effect.isSuccess(own.here(digest))) return
        if (lost.has(digest)) return yield* cannot(digest, "does not have it")
        const outcome = yield* circuit.through(download(digest)).pipe(
          downloads.withPermits(1),
          Effect.catchIf(
            (error) => error instanceof RemoteError,
            (error) => cannot(digest, error.message, error)
          )
        )
        if (outcome === "whole") return
        yield* forget(digest)
        if (outcome === "absent") return yield* cannot(digest, "no longer has it")
        damaged.add(digest)
        yield* warn(
          `blob ${digest} has other bytes there than its digest says; they are not used, and what made it is computed again`
        )
        return yield* cannot(digest, "has other bytes under its digest")
      }).pipe(one.withPermits(1))
    })

  const absent = (error: StoreError) => error.reason === "NotFound" || error.reason === "Corrupt"

  const orNoted =
    (check: Blobs["verify"]): Blobs["verify"] =>
    (digest) =>
      Effect.catchIf(check(digest), absent, (error) =>
        Effect.flatMap(isNoted(digest), (noted) => {
          if (!noted) return error
          return error.reason === "Corrupt" ? warn(`${error.message}; it is fetched again`) : Effect.void
        })
      )

  return {
    lost,
    damaged,
    fetch,
    note: (digest) => Effect.asVoid(writeAtomically(layout.temporary, noteOf(digest), "", "keep")),
    blobs: {
      ...own,
      locate: (digest) =>
        Effect.catchIf(own.here(digest), absent, (error) =>
          Effect.flatMap(isNoted(digest), (noted) =>
            noted
              ? Effect.zipRight(fetch(digest), own.here(digest))
              : lost.has(digest)
                ? cannot(digest, "does not have it")
                : error
          )
        ),
      verify: orNoted(own.verify),
      use: orNoted(own.use)
    }
  }
}
