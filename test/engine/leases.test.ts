/** Leases between real processes: killed, stopped, busy, in another process namespace. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { bundle } from "./Bundle.js"
import { start, type Program } from "./Program.js"

const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-leases-")))
const holders: Array<Program> = []
afterAll(() => {
  for (const { child } of holders) child.kill("SIGKILL")
  rmSync(root, { recursive: true, force: true })
})

let program = ""
beforeAll(async () => {
  program = await bundle(join(import.meta.dirname, "fixtures/leases/holder.ts"), join(root, "holder.mjs"))
})

const KEY = `sha256:${"ab".repeat(32)}`
const holder = (store: string, what: string, prefix: ReadonlyArray<string> = []): Program => {
  const started = start([...prefix, process.execPath, program, join(root, store), KEY, what])
  holders.push(started)
  return started
}
const is = (text: string) => (line: string) => line.startsWith(text)
const leases = (store: string): ReadonlyArray<string> => {
  const found = readdirSync(join(root, store, "leases"), { recursive: true, encoding: "utf8" })
  return found.filter((name) => name.includes("/"))
}

describe("a lease", () => {
  it("whose holder was killed is taken over, and the new holder tells from whom", async () => {
    const first = holder("killed", "hold")
    await first.line(is("taken"))
    const second = holder("killed", "hold")
    first.child.kill("SIGKILL")
    await second.line(is("taken"))
    second.child.stdin?.end("\n")
    const { said } = await second.ended
    expect(said).toEqual([
      expect.stringMatching(
        new RegExp(
          `^warning: took over the lease of ${KEY} from process ${first.child.pid} on .+, which died$`
        )
      ),
      "taken",
      "released"
    ])
    expect(leases("killed")).toEqual([])
  })

  it("of a stopped process is taken over when it gave no sign of life for long, and it hears of it when it goes on", async () => {
    const first = holder("stopped", "hold")
    await first.line(is("taken"))
    first.child.kill("SIGSTOP")
    const second = holder("stopped", "hold")
    expect(await second.line(is("warning"))).toMatch(/gave no sign of life for 600ms$/)
    await second.line(is("taken"))
    first.child.kill("SIGCONT")
    expect(await first.line(is("warning"))).toMatch(
      new RegExp(`lost the lease of ${KEY} to process ${second.child.pid} on `)
    )
    // Its own end takes nothing from the other.
    first.child.stdin?.end("\n")
    await first.ended
    expect(leases("stopped")).toEqual([expect.stringContaining(`/${second.child.pid}-`)])
    second.child.stdin?.end("\n")
    await second.ended
    expect(leases("stopped")).toEqual([])
  })

  it("of a process of this machine that is too busy for heartbeats stays its own", async () => {
    const first = holder("busy", "block")
    await first.line(is("taken"))
    const second = holder("busy", "hold")
    const order: Array<string> = []
    await Promise.all([
      first.line(is("released")).then(() => order.push("first released")),
      second.line(is("taken")).then(() => order.push("second taken"))
    ])
    expect(order).toEqual(["first released", "second taken"])
    second.child.stdin?.end("\n")
    expect((await second.ended).said).toEqual(["taken", "released"])
  })

  const unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
  const canUnshare = spawnSync(unshare[0] ?? "", [...unshare.slice(1), "true"]).status === 0
  it.skipIf(!canUnshare)(
    `of another process namespace is believed while its file changes${canUnshare ? "" : " (unshare is not permitted here)"}`,
    async () => {
      const first = holder("namespace", "hold", unshare)
      await first.line(is("taken"))
      // Process ids of its namespace mean something else here, or nothing.
      expect(leases("namespace")[0]).toMatch(/\/[1-9]-/)
      const second = holder("namespace", "hold")
      let taken = false
      void second.line(is("taken")).then(() => (taken = true))
      // Several times as long as a silent one would be believed.
      await new Promise((resolve) => setTimeout(resolve, 3000))
      expect(taken).toBe(false)
      first.child.kill("SIGKILL")
      expect(await second.line(is("warning"))).toMatch(/gave no sign of life for 600ms$/)
      second.child.stdin?.end("\n")
      await second.ended
    }
  )

  it("is held by one process at a time, whoever is killed", async () => {
    const store = "many"
    const kills = fc.sample(fc.integer({ min: 0, max: 400 }), { seed: 7, numRuns: 12 })
    const both: Array<string> = []
    // Each waits until the one it killed is gone, so that its process id tells that it is dead.
    const worker = async (mine: ReadonlyArray<number>) => {
      for (const millis of mine) {
        const running = holder(store, "loop")
        await new Promise((resolve) => setTimeout(resolve, 100 + millis))
        running.child.kill("SIGKILL")
        both.push(...(await running.ended).said.filter(is("both")))
      }
      const last = await holder(store, "loop").ended
      both.push(...last.said.filter(is("both")))
      expect([last.code, last.errors]).toEqual([0, ""])
    }
    await Promise.all([0, 3, 6, 9].map((i) => worker(kills.slice(i, i + 3))))
    expect(both).toEqual([])
    expect(leases(store)).toEqual([])
  }, 300_000)
})
