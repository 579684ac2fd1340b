/**
 * Runs killed with SIGKILL: at a call to the file system, right before it or while it is under way, or at any moment.
 *
 * TESSERA_KILLS says how many (default 100), TESSERA_KILL_SEED which.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import type { RunEvent } from "@tessera/engine"
import type { Artifact } from "@tessera/store"
import fc from "fast-check"
import { afterAll, expect, it } from "vitest"
import { bundle } from "./Bundle.js"
import { start, type Ended } from "./Program.js"
import { check, results, type Found } from "./StoreCheck.js"

const kills = Number(process.env["TESSERA_KILLS"] ?? 100)
const seed = Number(process.env["TESSERA_KILL_SEED"] ?? 20261124)
/** Kills in one store before a run may end by itself. */
const ROUND = 4

const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-crash-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const dying = join(import.meta.dirname, "fixtures/crash/dying.mjs")

interface Kill {
  /** `before` and `during` a call to the file system, `moment`: from outside, at any time. */
  readonly how: "before" | "during" | "moment"
  /** Where in what is left of the run, 0 to 1. */
  readonly when: number
}
const aKill: fc.Arbitrary<Kill> = fc.record({
  how: fc.constantFrom("before" as const, "during" as const, "moment" as const),
  when: fc.integer({ min: 0, max: 99_999 }).map((n) => n / 100_000)
})

const targetsOf = ({ events }: Ended): Readonly<Record<string, Artifact>> | undefined => {
  const last = events.at(-1)
  return last?._tag === "RunFinished" && last.outcome === "succeeded" ? last.targets : undefined
}

/** Where in the life of a run a kill hit, by what the dead process left. */
const phaseOf = (pid: number, before: Found, after: Found): string => {
  const held = after.leases.filter(({ holder }) => holder.startsWith(`${pid}-`))
  if (held.length === 0) return "without a lease"
  if (held.some(({ key }) => after.actions.has(key))) return "after the action, before the lease's end"
  if (after.unnamed.some((digest) => !before.unnamed.includes(digest))) return "between blob and action"
  return "executing"
}

it(`${kills} killed runs leave no wrong or partial artifact, and the next runs end with the same digests`, async () => {
  const program = await bundle(join(import.meta.dirname, "fixtures/crash/main.ts"), join(root, "program.mjs"))
  const run = (store: string, env: Readonly<Record<string, string>> = {}) =>
    start([process.execPath, "--import", dying, program, store], env)

  const clean = join(root, "clean")
  const began = performance.now()
  let first = 0
  const cleanRun = run(clean)
  await cleanRun.event(() => true).then(() => (first = performance.now()))
  const undisturbed = await cleanRun.ended
  const [whole, startUp] = [performance.now() - first, first - began]
  const targets = targetsOf(undisturbed)
  expect(undisturbed.errors).toBe("")
  expect(targets).toBeDefined()
  const expected = check(clean)
  expect(expected.wrong).toEqual([])
  const calls = (JSON.parse(undisturbed.said.at(-1) ?? "{}") as { readonly calls: number }).calls
  const again = await run(clean).ended
  const least = (JSON.parse(again.said.at(-1) ?? "{}") as { readonly calls: number }).calls

  const phases: Record<string, number> = {}
  const count = (what: string) => (phases[what] = (phases[what] ?? 0) + 1)
  const made = { kills: 0, stores: 0, processes: 0 }

  const same = (found: Found, when: string) => {
    expect(found.wrong, when).toEqual([])
    for (const [key, outputs] of Object.entries(results(found))) {
      expect(outputs, `${when}: ${key}`).toEqual(results(expected)[key])
    }
  }

  const finish = (ended: Ended, store: string, when: string) => {
    expect(ended.errors, when).toBe("")
    expect(targetsOf(ended), when).toEqual(targets)
    const found = check(store)
    same(found, when)
    expect(Object.keys(results(found)).toSorted(), when).toEqual(Object.keys(results(expected)).toSorted())
    return found
  }

  const round = async (number: number): Promise<void> => {
    const store = join(root, `store-${number}`)
    const plan = fc.sample(aKill, { seed: seed + number, numRuns: ROUND, unbiased: true } as const)
    let before = check(join(root, "none"))
    for (const [i, { how, when }] of plan.entries()) {
      if (made.kills >= kills) break
      const at = `seed ${seed}, round ${number}, kill ${i + 1} (${how} ${when})`
      const left = 1 - before.actions.size / expected.actions.size
      made.processes++
      const running =
        how === "moment"
          ? run(store)
          : run(store, {
              DIE: how,
              DIE_AT: String(1 + Math.floor(when * (least + left * (calls - least))))
            })
      if (how === "moment") {
        // A few of them hit the start of the program.
        if (when < 0.02) await setTimeout(when * 50 * startUp)
        else {
          await running.event(() => true).catch(() => undefined)
          await setTimeout(when * whole * Math.max(left, 0.2))
        }
        running.child.kill("SIGKILL")
      }
      const ended = await running.ended
      const found = check(store)
      same(found, at)
      if (ended.signal !== "SIGKILL") {
        finish(ended, store, at)
        count("(ended before its kill)")
        break
      }
      made.kills++
      const told = ended.events.some(({ _tag }: RunEvent) => _tag === "RunFinished")
      count(
        told
          ? "after the last event"
          : ended.events.length === 0
            ? "before the first event"
            : phaseOf(running.child.pid ?? 0, before, found)
      )
      before = found
    }
    made.processes++
    const last = await run(store).ended
    const found = finish(last, store, `seed ${seed}, after round ${number}`)
    // What the dead left goes when a store is opened.
    expect([found.leases, found.temporary], `after round ${number}`).toEqual([[], []])
    rmSync(store, { recursive: true, force: true })
    made.stores++
  }

  let next = 0
  const worker = async () => {
    while (made.kills < kills) await round(next++)
  }
  // They wait for the disk half of the time.
  await Promise.all([worker(), worker(), worker(), worker()])
  if (process.env["TESSERA_KILLS"] !== undefined) {
    console.error(
      `${made.kills} kills in ${made.stores} stores, ${made.processes} processes; ${calls} calls in a whole run\n`,
      Object.fromEntries(Object.entries(phases).sort(([, a], [, b]) => b - a))
    )
  }
  expect(Object.keys(phases)).toEqual(
    expect.arrayContaining([
      "without a lease",
      "executing",
      "between blob and action",
      "after the action, before the lease's end"
    ])
  )
}, 3_600_000)
