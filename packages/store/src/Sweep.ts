/**
 * Leftovers of processes that died: partial files, scratch folders, leases that nobody took over.
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { Duration, Effect } from "effect"
import type { Layout } from "./Layout.js"
import type { Place } from "./Leases.js"
import { fate, uniqueName } from "./Owner.js"

/** What a process left that cannot be looked up (of another machine) stays for so long after its last change. */
const UNKNOWN = Duration.days(7)
/** Leases of dead processes stay for so long, unless the key has its result: who takes one over tells so. */
const LEASES = Duration.days(1)

const names = (folder: string): Promise<ReadonlyArray<string>> => fs.readdir(folder).catch(() => [])

/** The time by the clock that gives files their times, in milliseconds since the epoch. */
const clockOf = async (folder: string): Promise<number> => {
  const probe = join(folder, uniqueName())
  await fs.writeFile(probe, "")
  const { mtimeMs } = await fs.stat(probe)
  await fs.rm(probe, { force: true })
  return mtimeMs
}

const isThere = (path: string): Promise<boolean> =>
  fs.stat(path).then(
    () => true,
    () => false
  )

const changedAt = async (path: string): Promise<number> => {
  const { mtimeMs } = await fs.stat(path)
  const inside = await fs.readdir(path, { recursive: true }).catch(() => [])
  const times = await Promise.all(
    inside.map((name) =>
      fs.stat(join(path, name)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0
      )
    )
  )
  return Math.max(mtimeMs, ...times)
}

const sweepTemporary = async (layout: Layout): Promise<void> => {
  let now: number | undefined
  for (const name of await names(layout.temporary)) {
    const path = join(layout.temporary, name)
    const found = fate(name)
    if (found === "alive" || found === "stopped") continue
    if (found === "unknown") {
      now ??= await clockOf(layout.temporary)
      if (now - (await changedAt(path)) <= Duration.toMillis(UNKNOWN)) continue
    }
    await fs.rm(path, { recursive: true, force: true })
  }
}

/** @param isDone whether nobody will take over the lease of a name */
const sweepLeases = async (
  layout: Layout,
  { leases }: Place,
  isDone: (name: string) => Promise<boolean>
): Promise<void> => {
  for (const name of await names(leases)) {
    const folder = join(leases, name)
    for (const holder of await names(folder)) {
      const found = fate(holder)
      if (found === "alive" || found === "stopped") continue
      const file = join(folder, holder)
      const { mtimeMs } = await fs.stat(file)
      const silent = (await clockOf(layout.temporary)) - mtimeMs
      const isOld = silent > Duration.toMillis(found === "dead" ? LEASES : UNKNOWN)
      if (isOld || (found === "dead" && (await isDone(name)))) await fs.rm(file, { force: true })
    }
    // Files are leases of an earlier version.
    await fs.rm(folder).catch(() => undefined)
    // Only an empty one goes.
    await fs.rmdir(folder).catch(() => undefined)
  }
}

/** Others may sweep at the same time, and a store may be read-only: what fails is left to the next. */
export const sweep = (layout: Layout): Effect.Effect<void> =>
  Effect.promise(async () => {
    await sweepTemporary(layout).catch(() => undefined)
    await sweepLeases(layout, layout, (key) => isThere(layout.action(key))).catch(() => undefined)
    await sweepLeases(layout, layout.underWay, async () => true).catch(() => undefined)
  })
