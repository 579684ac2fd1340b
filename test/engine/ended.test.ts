/** What a run that is ended early leaves, and what the next makes of it. */
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { bundle } from "./Bundle.js"
import { start } from "./Program.js"
import { check, results } from "./StoreCheck.js"

// Each test starts several processes.
vi.setConfig({ testTimeout: 300_000 })

const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-ended-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let program = ""
const run = (store: string, env: Readonly<Record<string, string>> = {}) =>
  start([process.execPath, program, join(root, store)], env)
beforeAll(async () => {
  program = await bundle(join(import.meta.dirname, "fixtures/crash/main.ts"), join(root, "program.mjs"))
})

/** Ends a run while it executes `scale`, which takes long enough. */
const endEarly = async (store: string, signal: NodeJS.Signals) => {
  const running = run(store, { MILLIS: "300" })
  await running.line((line) => line.startsWith("begun scale"))
  running.child.kill(signal)
  return running.ended
}

describe("a run that is ended early", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("by %s leaves no temporary file and no lease", async (signal) => {
    const ended = await endEarly(signal, signal)
    expect(ended.events.at(-1)).toMatchObject({ _tag: "RunFinished", outcome: "interrupted" })
    const { leases, temporary, unnamed, wrong } = check(join(root, signal))
    expect({ leases, temporary, unnamed, wrong }).toEqual({
      leases: [],
      temporary: [],
      unnamed: [],
      wrong: []
    })
  })

  it("by SIGKILL leaves leases and temporary folders; the next run takes them over, tells so, and leaves none", async () => {
    const ended = await endEarly("SIGKILL", "SIGKILL")
    expect(ended.signal).toBe("SIGKILL")
    const left = check(join(root, "SIGKILL"))
    expect(left.leases.length).toBeGreaterThan(0)
    expect(left.temporary.length).toBeGreaterThan(0)
    expect(left.wrong).toEqual([])
    const next = await run("SIGKILL").ended
    expect([next.code, next.errors]).toEqual([0, ""])
    const details = next.events.flatMap((event) => (event._tag === "Warning" ? [event.detail] : []))
    for (const { key, holder } of left.leases) {
      expect(details.join("\n")).toContain(
        `took over the lease of ${key} from process ${holder.split("-")[0]} on ${holder.split("~")[1]}, which died`
      )
    }
    const kept = ended.events.flatMap((event) => (event._tag === "TaskCommitted" ? [event.key] : []))
    const redone = next.events.flatMap((event) => (event._tag === "TaskStarted" ? [event.key] : []))
    expect(kept.length).toBeGreaterThan(0)
    expect(redone.filter((key) => kept.includes(key))).toEqual([])
    const after = check(join(root, "SIGKILL"))
    expect([after.leases, after.temporary, after.wrong]).toEqual([[], [], []])
    await run("clean").ended
    expect(results(after)).toEqual(results(check(join(root, "clean"))))
  })
})
