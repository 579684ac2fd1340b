/** Processes that run one pipeline on one store at the same time. */
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { RunEvent } from "@tessera/engine"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { bundle } from "./Bundle.js"
import { start, type Ended } from "./Program.js"
import { check, results, type Found } from "./StoreCheck.js"

const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-concurrency-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Executions of a whole run. */
const ALL = "repack,scale r0,scale r1,scale r2,source,sum g0,sum g1,sum g2,sum g3,total,weigh".split(",")

let program = ""
let expected: Found
beforeAll(async () => {
  program = await bundle(join(import.meta.dirname, "fixtures/crash/main.ts"), join(root, "program.mjs"))
  await run("clean").ended
  expected = check(join(root, "clean"))
})

const run = (store: string) =>
  start([process.execPath, program, join(root, store)], {
    MILLIS: "30",
    EXECUTIONS: join(root, `${store}.executions`)
  })

const executions = (store: string): ReadonlyArray<string> => {
  const file = join(root, `${store}.executions`)
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").toSorted() : []
}

const keysOf = (ended: ReadonlyArray<Ended>, tag: "TaskStarted" | "TaskCommitted"): ReadonlyArray<string> =>
  ended.flatMap(({ events }) => events.flatMap((event: RunEvent) => (event._tag === tag ? [event.key] : [])))

const whole = (found: Found) => {
  expect(found.wrong).toEqual([])
  expect(results(found)).toEqual(results(expected))
}

describe("8 processes that run one pipeline at once on one store", () => {
  it("compute each key exactly once, all with the same results", async () => {
    const ended = await Promise.all(Array.from({ length: 8 }, () => run("eight").ended))
    expect(ended.map(({ code, errors }) => [code, errors])).toEqual(ended.map(() => [0, ""]))
    expect(executions("eight")).toEqual(ALL)
    for (const tag of ["TaskStarted", "TaskCommitted"] as const) {
      expect(keysOf(ended, tag).length, tag).toBe(ALL.length)
      expect(new Set(keysOf(ended, tag)).size, tag).toBe(ALL.length)
    }
    const targets = ended
      .map(({ events }) => events.at(-1))
      .map((last) => last?._tag === "RunFinished" && last.targets)
    expect(targets).toEqual(targets.map(() => targets[0]))
    const found = check(join(root, "eight"))
    whole(found)
    expect([found.leases, found.temporary]).toEqual([[], []])
  }, 300_000)

  it("of which three are killed while they execute: the others complete, each key's result is published once", async () => {
    const all = Array.from({ length: 8 }, () => run("killed"))
    // Whoever executes one of these first is killed while at it.
    const victims = new Map<string, number>()
    all.forEach(({ child, event }, i) => {
      for (const node of ["source", "scale", "sum"]) {
        const kill = () => {
          if (victims.has(node)) return
          victims.set(node, i)
          child.kill("SIGKILL")
        }
        event((told) => told._tag === "TaskStarted" && told.node === node).then(kill, () => undefined)
      }
    })
    const ended = await Promise.all(all.map(({ ended }) => ended))
    const survivors = ended.filter(({ signal }) => signal === null)
    expect(victims.size).toBe(3)
    expect(survivors.length).toBe(8 - new Set(victims.values()).size)
    expect(survivors.map(({ code, errors }) => [code, errors])).toEqual(survivors.map(() => [0, ""]))
    const committed = keysOf(ended, "TaskCommitted")
    expect(new Set(committed).size).toBe(committed.length)
    // Once more for each execution that a killed process did not get to commit, and no more.
    const lost = ended.flatMap((one) =>
      one.signal === null
        ? []
        : keysOf([one], "TaskStarted").filter((key) => !keysOf([one], "TaskCommitted").includes(key))
    )
    expect(new Set(executions("killed"))).toEqual(new Set(ALL))
    expect(executions("killed").length).toBeLessThanOrEqual(ALL.length + lost.length)
    expect(keysOf(ended, "TaskStarted").length).toBeLessThanOrEqual(ALL.length + lost.length)
    const warnings = survivors.flatMap(({ events }) =>
      events.flatMap((event) => (event._tag === "Warning" ? [event.detail] : []))
    )
    expect(warnings.join("\n")).toMatch(
      /took over the lease of sha256:\w+ from process \d+ on .+, which died/
    )
    whole(check(join(root, "killed")))
  }, 300_000)
})
