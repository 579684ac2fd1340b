/**
 * One holder per name, such as one writer per key: a folder `leases/<key>` that holds one empty file, named after its holder, which the holder
 * touches to show that it lives.
 *
 * Each step is one rename or removal of a name that no other holder ever has, so the file system decides every race, on
 * NFS as on a local disk, and nobody can act on another lease than the one he looked at:
 *
 * - Free to A: a folder with A's file in it is renamed to `leases/<key>`; that fails unless there is none or an empty one.
 * - A to B: A's file is renamed to B's name. Of two takers the second finds no A; and neither does one who judged A, but
 *   in the meantime A let go, or B came and went.
 * - A to free: A's file is removed, then the folder, which fails unless it is empty.
 *
 * No clocks are compared: a holder elsewhere is silent when its file stayed as it was for as long as the waiter itself
 * watched. A holder that stood still for longer than that, and lost its lease, hears of it at its next heartbeat, and
 * goes on: two then compute one key, once too often, to content-addressed results of which either may be published.
 */
import * as fs from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { Clock, Duration, Effect, Schedule, type Scope } from "effect"
import type { StoreError } from "./Errors.js"
import { attempt, errorCode, makeFolder } from "./Files.js"
import { fate, pidOf, uniqueName } from "./Owner.js"

/** How often a holder shows that it lives, and how long a silent one that cannot be looked up is believed. */
export const HEARTBEAT = Duration.seconds(10)
export const EXPIRY = Duration.seconds(60)

/** A waiter that did not look for longer than this does not know what the holder did meanwhile. */
const LOOKED_AWAY = Duration.seconds(2)

/** Where leases are kept: a folder for each name, and a folder on the same disk for what is not there yet. */
export interface Place {
  readonly leases: string
  readonly temporary: string
  readonly lease: (name: string) => string
}

const isHolder = (name: string): boolean => pidOf(name) !== undefined

const words = (holder: string): string => {
  const host = holder.slice(holder.indexOf("~") + 1)
  return `process ${pidOf(holder)} on ${host}`
}

const none = (...codes: ReadonlyArray<string>) => {
  return (cause: unknown): undefined => {
    if (!codes.includes(errorCode(cause) ?? "")) throw cause
  }
}

const isThere = (path: string): Promise<boolean> =>
  fs.stat(path).then(
    () => true,
    () => false
  )

/** The holder, and what its file looks like now; undefined where nobody has it. */
const look = async (
  path: string
): Promise<{ readonly holder: string; readonly state: string } | undefined> => {
  const holder = (await fs.readdir(path).catch(none("ENOENT")))?.find(isHolder)
  if (holder === undefined) return undefined
  const stat = await fs.stat(join(path, holder), { bigint: true }).catch(none("ENOENT"))
  return stat === undefined ? undefined : { holder, state: `${holder} ${stat.mtimeNs} ${stat.ctimeNs}` }
}

const takeFree = async (layout: Place, path: string, mine: string): Promise<boolean> => {
  const folder = join(layout.temporary, mine)
  await makeFolder(folder)
  await fs.writeFile(join(folder, mine), "")
  try {
    await fs.rename(folder, path).catch(async (cause: unknown) => {
      if (errorCode(cause) !== "ENOENT") throw cause
      await makeFolder(layout.leases)
      await fs.rename(folder, path)
    })
    return true
  } catch (cause) {
    // Over a network the answer to a request can get lost, and its repetition fails: what counts is what is there.
    if (await isThere(join(path, mine))) return true
    await fs.rm(folder, { recursive: true, force: true })
    // Windows says EPERM where a folder is there, even an empty one.
    if (errorCode(cause) !== "EPERM" || !(await isThere(path))) none("ENOTEMPTY", "EEXIST")(cause)
    await fs.rmdir(path).catch(() => undefined)
    return false
  }
}

const takeOver = async (path: string, holder: string, mine: string): Promise<boolean> => {
  const taken = await fs.rename(join(path, holder), join(path, mine)).then(() => true, none("ENOENT"))
  return taken ?? (await isThere(join(path, mine)))
}

const release = async (path: string, mine: string): Promise<void> => {
  // Gone already: taken over, or the store was removed.
  await fs.rm(join(path, mine), { force: true }).catch(() => undefined)
  await fs.rmdir(path).catch(() => undefined)
}

export interface Times {
  readonly heartbeat: Duration.Duration
  readonly expiry: Duration.Duration
}

/** Judges a holder each time it is looked at. */
type Judge = (holder: string, state: string, now: number) => boolean

/** Whether nobody is behind a lease any more, as far as one can tell who has watched it since this was made. */
const judge = (expiry: Duration.Duration): Judge => {
  let seen = { state: "", at: 0, silent: 0 }
  return (holder, state, now) => {
    const same = seen.state === state
    const silent = same ? seen.silent + Math.min(now - seen.at, Duration.toMillis(LOOKED_AWAY)) : 0
    seen = { state, at: now, silent }
    const found = fate(holder)
    // One that is surely there is believed however long it is silent: a stage may keep its process too busy to tell.
    return found === "dead" || (found !== "alive" && silent >= Duration.toMillis(expiry))
  }
}

/** By a monotonic clock. */
const monotonic = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1_000_000n))

/**
 * Tells, each time it is asked, whether somebody holds a lease. Of a holder elsewhere it takes the asker `expiry` of
 * asking at least every two seconds to find out that it is gone.
 */
export const watch = (
  layout: Place,
  name: string,
  expiry: Duration.Duration = EXPIRY
): Effect.Effect<boolean, StoreError> => {
  const path = layout.lease(name)
  const isAbandoned = judge(expiry)
  return Effect.flatMap(monotonic, (now) =>
    Effect.map(
      attempt(path, () => look(path)),
      (found) => found !== undefined && !isAbandoned(found.holder, found.state, now)
    )
  )
}

/**
 * Takes a lease, if it is free or its holder is gone, and keeps it until the scope closes. Whether it did: made once, it
 * is asked again and again, and so finds out that a holder elsewhere fell silent.
 *
 * @param warn hears of leases taken over and lost
 */
export const claim = (
  layout: Place,
  key: string,
  warn: (detail: string) => Effect.Effect<void>,
  { heartbeat, expiry }: Times = { heartbeat: HEARTBEAT, expiry: EXPIRY }
): Effect.Effect<boolean, StoreError, Scope.Scope> => {
  const path = layout.lease(key)
  const mine = `${uniqueName()}~${hostname()
    .replace(/[^\w.-]/g, "_")
    .slice(0, 64)}`
  const long = Duration.format(expiry)
  const isAbandoned = judge(expiry)

  const tryTake = (now: number): Effect.Effect<boolean, StoreError> =>
    Effect.gen(function* () {
      const found = yield* attempt(path, () => look(path))
      if (found === undefined) return yield* attempt(path, () => takeFree(layout, path, mine))
      const { holder, state } = found
      if (!isAbandoned(holder, state, now)) return false
      const taken = yield* attempt(path, () => takeOver(path, holder, mine))
      const why = fate(holder) === "dead" ? "died" : `gave no sign of life for ${long}`
      if (taken) yield* warn(`took over the lease of ${key} from ${words(holder)}, which ${why}`)
      return taken
    })
  const beat = attempt(path, async () => {
    const now = new Date()
    await fs.utimes(join(path, mine), now, now)
  })
  const lost = Effect.flatMap(
    Effect.promise(() => look(path).catch(() => undefined)),
    (now) => {
      const to = now === undefined ? "" : ` to ${words(now.holder)}`
      return warn(
        `lost the lease of ${key}${to}, having stood still for more than ${long}; ` +
          "both compute it, to results of which either may be kept"
      )
    }
  )
  const keep = beat.pipe(
    // Whatever else fails may pass.
    Effect.catchIf(
      ({ reason }) => reason !== "NotFound",
      () => Effect.void
    ),
    Effect.repeat(Schedule.spaced(heartbeat)),
    Effect.catchAll(() => lost),
    Effect.forkScoped
  )
  return Effect.acquireRelease(Effect.flatMap(monotonic, tryTake), (taken) =>
    taken ? Effect.promise(() => release(path, mine)) : Effect.void
  ).pipe(Effect.tap((taken) => (taken ? keep : Effect.void)))
}

/** Waits for a lease and keeps it until the scope closes. */
export const lease = (
  ...[layout, key, warn, times]: Parameters<typeof claim>
): Effect.Effect<{ readonly key: string }, StoreError, Scope.Scope> =>
  Effect.suspend(() => {
    // Short waits first: most leases are held for the time of one small step.
    const waits = Schedule.exponential("5 millis", 1.5).pipe(Schedule.union(Schedule.spaced("1 second")))
    return Effect.repeat(claim(layout, key, warn, times), { schedule: waits, until: (taken) => taken })
  }).pipe(Effect.as({ key }))
