/** The engine in real processes: killed, interrupted, side by side, and with its stages' code edited in between. */
import { spawn, type ChildProcess } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout } from "node:timers/promises"
import { RunEvent } from "@tessera/engine"
import { Schema } from "effect"
import { afterAll, describe, expect, it, vi } from "vitest"

// Each test starts several processes.
vi.setConfig({ testTimeout: 300_000 })

const repository = join(import.meta.dirname, "../..")
const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-process-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** A copy of the fixtures that can import what the repository has. */
const checkout = (name: string): string => {
  const folder = join(root, name)
  cpSync(join(import.meta.dirname, "fixtures"), folder, { recursive: true })
  symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"))
  return folder
}

interface Finished {
  readonly events: ReadonlyArray<RunEvent>
  readonly code: number | null
  readonly errors: string
}

interface Started {
  readonly child: ChildProcess
  /** Resolves with the first event that fits. */
  readonly seen: (fits: (event: RunEvent) => boolean) => Promise<void>
  readonly finished: Promise<Finished>
}

const decode = Schema.decodeUnknownSync(Schema.parseJson(RunEvent))

const start = (folder: string, store: string, env: Readonly<Record<string, string>> = {}): Started => {
  const child = spawn(process.execPath, ["--import", "tsx", "main.ts", store], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const events: Array<RunEvent> = []
  const waiting = new Set<(event: RunEvent) => void>()
  let errors = ""
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()))
  createInterface({ input: child.stdout }).on("line", (line) => {
    const event = decode(line)
    events.push(event)
    for (const hear of waiting) hear(event)
  })
  const finished = new Promise<Finished>((resolve) => {
    child.on("close", (code) => resolve({ events, code, errors }))
  })
  return {
    child,
    finished,
    seen: (fits) =>
      new Promise((resolve, reject) => {
        waiting.add((event) => fits(event) && resolve())
        void finished.then(() => reject(new Error(`ended before: ${errors}`)))
      })
  }
}

const complete = async (folder: string, store: string, env: Readonly<Record<string, string>> = {}) => {
  const { code, errors, events } = await start(folder, store, env).finished
  expect(errors).toBe("")
  expect(code).toBe(0)
  const last = events.at(-1)
  const started = events.flatMap((event) => (event._tag === "TaskStarted" ? [event] : []))
  return {
    targets: last?._tag === "RunFinished" ? last.targets : {},
    started: started.map(({ node, shard }) => (shard === undefined ? node : `${node} ${shard}`)),
    reasons: started.map(({ reason }) => reason),
    keys: events.flatMap((event) => (event._tag === "TaskCommitted" ? [event.key] : [])).sort()
  }
}

const lines = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [])

describe("two processes", () => {
  it("that want the same results compute each once", async () => {
    const folder = checkout("two")
    const store = join(folder, "store")
    const executions = join(folder, "executions")
    const env = { EXECUTIONS: executions, MILLIS: "150" }
    const [a, b] = await Promise.all([complete(folder, store, env), complete(folder, store, env)])
    expect(lines(executions).toSorted()).toEqual(
      ["g01", "g02", "g03", "g04", "g05", "g06"].map((g) => `slow ${g}`)
    )
    expect(a.targets).toEqual(b.targets)
    expect([...a.started, ...b.started].toSorted()).toEqual(
      [...new Set([...a.started, ...b.started])].toSorted()
    )
  })
})

describe("a run that is ended early", () => {
  it.each(["SIGINT", "SIGTERM", "SIGKILL"] as const)(
    "by %s resumes and gives what a clean run gives",
    async (signal) => {
      const folder = checkout(signal)
      const store = join(folder, "store")
      const first = start(folder, store, { MILLIS: "300" })
      let committed = 0
      await first.seen((event) => {
        committed += Number(event._tag === "TaskCommitted" && event.node === "slow")
        return event._tag === "TaskStarted" && event.node === "slow" && committed >= 2
      })
      // The store may hold events back for a moment before it writes them.
      await setTimeout(150)
      first.child.kill(signal)
      const ended = await first.finished
      if (signal !== "SIGKILL")
        expect(ended.events.at(-1)).toMatchObject({ _tag: "RunFinished", outcome: "interrupted" })
      const kept = ended.events.flatMap((event) =>
        event._tag === "TaskCommitted" ? [`${event.node} ${event.shard}`] : []
      )
      const executions = join(folder, "executions")
      const resumed = await complete(folder, store, { EXECUTIONS: executions })
      expect(resumed.started.filter((task) => kept.includes(task))).toEqual([])
      expect(resumed.started.length).toBe(8 - kept.length)
      expect(resumed.reasons).toContain("did not finish last time")
      const clean = await complete(folder, join(folder, "clean"))
      expect(resumed.targets).toEqual(clean.targets)
    }
  )
})

describe("the code of stages", () => {
  const edit = (file: string, from: string, to: string) => {
    const text = readFileSync(file, "utf8")
    expect(text).toContain(from)
    writeFileSync(file, text.replace(from, to))
  }

  it("edited two files away reruns the stage that reaches it; a comment reruns nothing", async () => {
    const folder = checkout("edited")
    const store = join(folder, "store")
    const first = await complete(folder, store)
    expect(first.started.length).toBe(8)
    edit(join(folder, "lib/far.ts"), "// Two files away from the stage.", "/* Far, far away. */\n")
    edit(join(folder, "slow.ts"), "// Not part of any key", "// In no key")
    expect((await complete(folder, store)).started).toEqual([])
    edit(join(folder, "lib/far.ts"), "factor = 2", "factor = 3")
    const third = await complete(folder, store)
    expect(third.started.toSorted()).toEqual([...[1, 2, 3, 4, 5, 6].map((i) => `slow g0${i}`), "total"])
    expect(third.reasons[0]).toBe("code changed: lib/far.ts")
    expect(third.reasons.at(-1)).toBe("input numbers changed because stage slow's code changed: lib/far.ts")
  })

  it("has equal keys in two checkouts, and equal results in two stores", async () => {
    const [a, b] = [checkout("here"), checkout("there/deeper")]
    const [one, two] = [await complete(a, join(a, "store")), await complete(b, join(root, "elsewhere"))]
    expect(one.keys.length).toBe(8)
    expect(two.keys).toEqual(one.keys)
    expect(two.targets).toEqual(one.targets)
  })
})
