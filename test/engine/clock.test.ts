/** A clock that goes back an hour, between two runs and during one: told where it matters, and nothing lost. */
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { garbage } from "@tessera/engine"
import { FileStore } from "@tessera/store"
import { Clock, Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { bundle } from "./Bundle.js"
import { start, type Ended } from "./Program.js"
import { check, results, type Found } from "./StoreCheck.js"

// Each test starts several processes.
vi.setConfig({ testTimeout: 300_000 })

const HOUR = 3_600_000
const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-clock-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let program = ""
let expected: Found
const shifted = join(import.meta.dirname, "fixtures/crash/shifted.mjs")
const run = (store: string, shift: number, env: Readonly<Record<string, string>> = {}) =>
  start([process.execPath, "--import", shifted, program, join(root, store)], {
    CLOCK_SHIFT: `${shift}`,
    ...env
  })
beforeAll(async () => {
  program = await bundle(join(import.meta.dirname, "fixtures/crash/main.ts"), join(root, "program.mjs"))
  await run("clean", 0).ended
  expected = check(join(root, "clean"))
})

const idOf = ({ events }: Ended): string => {
  const [first] = events
  return first?._tag === "RunStarted" ? first.run : ""
}
const last = ({ events }: Ended) => {
  const event = events.at(-1)
  return event?._tag === "RunFinished" ? event : undefined
}
const warnings = ({ events }: Ended) =>
  events.flatMap((event) => (event._tag === "Warning" ? [event.detail] : []))
const complete = (store: string, ended: Ended) => {
  expect([ended.code, ended.errors]).toEqual([0, ""])
  const found = check(join(root, store))
  expect(found.wrong).toEqual([])
  expect(results(found)).toEqual(results(expected))
}

describe("a clock that went back an hour", () => {
  it("between two runs is told; the second resumes, and counts as the newest", async () => {
    const first = run("between", 0, { MILLIS: "200" })
    await first.event(({ _tag }) => _tag === "TaskCommitted")
    await first.event((event) => event._tag === "TaskStarted" && event.node === "scale")
    first.child.kill("SIGKILL")
    const killed = await first.ended
    const kept = killed.events.flatMap((event) => (event._tag === "TaskCommitted" ? [event.key] : []))
    const second = await run("between", -HOUR).ended
    complete("between", second)
    expect(warnings(second).join("\n")).toMatch(/the clock is (59m|1h).* behind the store's newest run/)
    expect(second.events[0]).toMatchObject({ _tag: "RunStarted" })
    const redone = second.events.flatMap((event) => (event._tag === "TaskStarted" ? [event.key] : []))
    expect(redone.filter((key) => kept.includes(key))).toEqual([])
    const third = await run("between", -HOUR).ended
    expect(last(third)?.targets).toEqual(last(second)?.targets)
    const ids = [killed, second, third].map(idOf)
    expect(readdirSync(join(root, "between/runs")).toSorted()).toEqual(ids.map((id) => `${id}.jsonl`))
  })

  it("during a run is told, and its log keeps the order and the durations", async () => {
    const running = run("during", 0, { MILLIS: "100" })
    await running.event((event) => event._tag === "TaskCommitted")
    running.child.kill("SIGUSR2")
    const ended = await running.ended
    complete("during", ended)
    expect(warnings(ended)).toEqual([expect.stringMatching(/^the clock was set back by (59m|1h)/)])
    expect(last(ended)?.millis).toBeGreaterThanOrEqual(0)
    for (const event of ended.events)
      if (event._tag === "TaskCommitted") expect(event.millis).toBeGreaterThanOrEqual(0)
    const log = readFileSync(join(root, `during/runs/${idOf(ended)}.jsonl`), "utf8")
    expect(
      log
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown)
    ).toEqual(ended.events.filter(({ _tag }) => _tag !== "TaskProgress"))
  })

  it("takes no lease from a live process, nor blocks on a dead one's, on either side", async () => {
    const executions = join(root, "sides.executions")
    const env = { MILLIS: "50", EXECUTIONS: executions }
    const all = await Promise.all([0, -HOUR, HOUR].map((shift) => run("sides", shift, env).ended))
    for (const ended of all) complete("sides", ended)
    const done = readFileSync(executions, "utf8").trim().split("\n")
    expect(done.length).toBe(new Set(done).size)
  })

  it("lets no young result be collected", async () => {
    await run("collected", 0).ended
    const back: Clock.Clock = { ...Clock.make(), currentTimeMillis: Effect.sync(() => Date.now() - HOUR) }
    const { actions, blobs, runs } = await Effect.runPromise(
      garbage({}).pipe(
        Effect.withClock(back),
        Effect.provide(FileStore.layer({ root: join(root, "collected") }))
      )
    )
    expect([actions, blobs, runs]).toEqual([[], [], []])
  })
})
