/** GPUs between runs of one machine: real processes, each with a store of its own. */
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it, vi } from "vitest"
import { bundle } from "./Bundle.js"
import { start } from "./Program.js"

// Each test starts several processes.
vi.setConfig({ testTimeout: 120_000 })

const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-devices-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let program = ""
beforeAll(async () => {
  program = await bundle(join(import.meta.dirname, "fixtures/gpus.ts"), join(root, "program.mjs"))
})

/** @param machine runs with the same temporary folder know of each other */
const run = (store: string, machine: string, env: Readonly<Record<string, string>> = {}) => {
  const TMPDIR = join(root, machine)
  mkdirSync(TMPDIR, { recursive: true })
  return start([process.execPath, program, join(root, store)], { TMPDIR, ...env })
}

interface Use {
  readonly gpu: string
  readonly from: bigint
  readonly to: bigint
}

/** Each GPU is used by one execution of a run at a time, so that ends follow beginnings. */
const uses = (said: ReadonlyArray<string>): ReadonlyArray<Use> => {
  const told = said.map((line) => line.split(" "))
  const times = (what: string, gpu: string) =>
    told.flatMap(([is, of, at = "0"]) => (is === what && of === gpu ? [BigInt(at)] : []))
  return ["0", "1"].flatMap((gpu) =>
    times("from", gpu).map((from, i) => ({ gpu, from, to: times("to", gpu)[i] ?? 0n }))
  )
}

const clashes = (a: ReadonlyArray<Use>, b: ReadonlyArray<Use>): number =>
  a.filter((x) => b.some((y) => x.gpu === y.gpu && x.from < y.to && y.from < x.to)).length

const together = async (...runs: ReadonlyArray<ReturnType<typeof run>>) => {
  const ended = await Promise.all(runs.map((one) => one.ended))
  expect(ended.map(({ code, errors }) => [code, errors])).toEqual(runs.map(() => [0, ""]))
  return ended.map(({ said }) => uses(said))
}

it("two runs at once never use the same one, and use all", async () => {
  const [a = [], b = []] = await together(run("a", "machine"), run("b", "machine"))
  expect([a.length, b.length, clashes(a, b)]).toEqual([5, 5, 0])
  expect(new Set([...a, ...b].map(({ gpu }) => gpu)).size).toBe(2)
  const left = readdirSync(join(root, "machine"), { recursive: true, encoding: "utf8" })
  expect(left.filter((name) => name.includes("gpu-"))).toEqual([])
})

it("runs that do not know of each other do use the same ones", async () => {
  const [a = [], b = []] = await together(
    run("c", "one", { MILLIS: "1500" }),
    run("d", "other", { MILLIS: "1500" })
  )
  expect(clashes(a, b)).toBeGreaterThan(0)
})

it("what a killed run held is free for the next", async () => {
  const killed = run("e", "killed", { MILLIS: "600000" })
  await killed.line((line) => line.startsWith("from 1"))
  killed.child.kill("SIGKILL")
  const [next = []] = await together(run("f", "killed"))
  expect(next.length).toBe(5)
  expect(new Set(next.map(({ gpu }) => gpu)).size).toBe(2)
})
