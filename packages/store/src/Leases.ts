/**
 * One writer per key: a file that its holder touches, and that anyone may take over when the holder died.
 */
import * as fs from "node:fs/promises"
import { hostname } from "node:os"
import { Duration, Effect, Either, Schedule, Schema, type Scope } from "effect"
import type { StoreError } from "./Errors.js"
import { attempt, errorCode, uniqueName } from "./Files.js"
import type { Layout } from "./Layout.js"

const Holder = Schema.parseJson(
  Schema.Struct({ host: Schema.String, pid: Schema.Number, token: Schema.String })
)
const decode = Schema.decodeUnknownEither(Holder)

/** How often a holder shows that it lives, and how long a silent one on another host is believed. */
export const HEARTBEAT = Duration.seconds(10)
export const EXPIRY = Duration.seconds(60)

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return errorCode(cause) === "EPERM"
  }
}

/** Whether the holder of the lease file died: its process is gone, or it has been silent for too long. */
const abandoned = async (path: string): Promise<boolean> => {
  const [text, stat] = await Promise.all([fs.readFile(path, "utf8"), fs.stat(path)])
  const holder = decode(text)
  if (Either.isRight(holder) && holder.right.host === hostname()) return !alive(holder.right.pid)
  // Its own clock set the time: compare with this file system's clock, not with this host's.
  return Date.now() - stat.mtimeMs > Duration.toMillis(EXPIRY)
}

const tryTake = async (layout: Layout, path: string, token: string): Promise<boolean> => {
  await fs.mkdir(layout.leases, { recursive: true })
  const mine = `${path}.${uniqueName()}`
  // Written aside and linked: the lease is never seen empty.
  await fs.writeFile(mine, JSON.stringify({ host: hostname(), pid: process.pid, token }), { flag: "wx" })
  try {
    await fs.link(mine, path)
    return true
  } catch (cause) {
    if (errorCode(cause) !== "EEXIST") throw cause
  } finally {
    await fs.rm(mine, { force: true })
  }
  try {
    if (await abandoned(path)) {
      // Renaming succeeds for one taker only; the others find nothing there and try again.
      const stale = `${path}.stale.${uniqueName()}`
      await fs.rename(path, stale)
      await fs.rm(stale, { force: true })
    }
  } catch (cause) {
    if (errorCode(cause) !== "ENOENT") throw cause
  }
  return false
}

const release = async (path: string, token: string): Promise<void> => {
  try {
    const holder = decode(await fs.readFile(path, "utf8"))
    if (Either.isRight(holder) && holder.right.token === token) await fs.rm(path, { force: true })
  } catch {
    // Gone already: taken over, or the store was removed.
  }
}

/** Waits for the lease of a key and keeps it until the scope closes. */
export const lease = (
  layout: Layout,
  key: string
): Effect.Effect<{ readonly key: string }, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = layout.lease(key)
    const token = uniqueName()
    const take = Effect.acquireRelease(
      attempt(path, () => tryTake(layout, path, token)),
      (taken) => (taken ? Effect.promise(() => release(path, token)) : Effect.void)
    )
    // Short waits first: most leases are held for the time of one small step.
    const waits = Schedule.exponential("5 millis", 1.5).pipe(Schedule.union(Schedule.spaced("1 second")))
    yield* Effect.repeat(take, { schedule: waits, until: (taken) => taken })
    yield* attempt(path, async () => {
      const now = new Date()
      await fs.utimes(path, now, now)
    }).pipe(Effect.ignore, Effect.repeat(Schedule.spaced(HEARTBEAT)), Effect.forkScoped)
    return { key }
  })
