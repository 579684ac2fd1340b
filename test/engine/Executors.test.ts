/** Executions in child processes: what they see, how they fail, and that they end. */
import { spawn } from "node:child_process"
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { pathToFileURL } from "node:url"
import { Process, run, type RunEvent, type RunOptions } from "@tessera/engine"
import { FileStore, Store } from "@tessera/store"
import { Effect } from "effect"
import { afterAll, beforeEach, describe, expect, it } from "vitest"
import children, { Told } from "./children/pipeline.js"

const repository = join(import.meta.dirname, "../..")
const root = mkdtempSync(join(tmpdir(), "tessera-executors-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const worker = [
  process.execPath,
  "--import",
  "tsx",
  join(repository, "packages/engine/src/jobMain.ts")
] as const
const module = new URL("children/pipeline.ts", import.meta.url).href

let folder = ""
let notes = ""
beforeEach(() => {
  folder = mkdtempSync(join(root, "t-"))
  notes = join(folder, "notes")
})

const noted = () => (existsSync(notes) ? readFileSync(notes, "utf8").trim().split("\n") : [])
const alive = (pid: number) => existsSync(`/proc/${pid}`)
const gone = async (pid: number) => {
  while (alive(pid)) await setTimeout(20)
}
const until = async (done: () => boolean) => {
  while (!done()) await setTimeout(20)
}

const events: Array<RunEvent> = []
beforeEach(() => void events.splice(0))

const start = (does: string, options: RunOptions = {}) =>
  run(children, {
    params: { notes, does },
    module,
    slots: { gpu: ["GPU-7", "GPU-9"] },
    executors: [Process.make({ command: worker, env: { EXTRA: "given" } })],
    onEvent: (event) => Effect.sync(() => void events.push(event)),
    ...options
  }).pipe(Effect.provide(FileStore.layer({ root: join(folder, "store") })))

const told = (does: string, options?: RunOptions) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { targets } = yield* start(does, options)
      const artifact = targets["told"]
      if (artifact === undefined) throw new Error("no target")
      const store = yield* Store
      const reader = yield* store.open(Told, artifact)
      return yield* reader.value
    }).pipe(Effect.scoped, Effect.provide(FileStore.layer({ root: join(folder, "store") })))
  )

const failure = (does: string, options?: RunOptions) => Effect.runPromise(Effect.flip(start(does, options)))

describe("a stage in a child process", () => {
  it("sees the GPU it holds and a clean environment, tells progress, and gives its outputs to the run", async () => {
    process.env["SECRET_OF_THE_SHELL"] = "x"
    const { env, pid } = await told("tell")
    delete process.env["SECRET_OF_THE_SHELL"]
    expect(pid).not.toBe(process.pid)
    expect(env["CUDA_VISIBLE_DEVICES"]).toBe("GPU-7")
    expect(env["EXTRA"]).toBe("given")
    expect(env["PATH"]).toBe(process.env["PATH"])
    expect(env).not.toHaveProperty("SECRET_OF_THE_SHELL")
    expect(events).toContainEqual(
      expect.objectContaining({ _tag: "TaskProgress", node: "child", done: 1, total: 2, label: "told" })
    )
    expect(readdirSync(join(folder, "store/tmp"))).toEqual([])
  })

  it("runs in this process where the run says so", async () => {
    expect((await told("tell", { executor: { child: "inline" } })).pid).toBe(process.pid)
  })

  it("that fails is told with the tag and fields of its error, and decides itself what is transient", async () => {
    const error = await failure("fail")
    expect(error).toMatchObject({ _tag: "StageFailed", node: "child", cause: { _tag: "Refused", code: 400 } })
    expect(error.message).toBe("stage child failed: no")
    expect(noted()).toHaveLength(1)
    expect(await failure("be busy")).toMatchObject({ cause: { code: 503 } })
    expect(noted()).toHaveLength(3)
  })

  it("that throws is told as a bug in the stage", async () => {
    expect(await failure("throw")).toMatchObject({ _tag: "EngineError", reason: "Defect", where: "child" })
  })

  it("that is killed is run again", async () => {
    await told("die once")
    expect(noted().map((line) => line.replace(/ \d+$/, ""))).toEqual(["die once", "die once"])
    const [retried] = events.filter((event) => event._tag === "TaskRetried")
    expect(retried?.error).toContain("was killed by SIGKILL")
    expect(retried?.error).toContain("these are my last words")
  })

  it("that always dies is told with its exit code", async () => {
    const error = await failure("die", { retries: 0 })
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Lost", where: "child" })
    expect(error.message).toContain("ended with exit code 7 and left no result")
  })

  it("cannot be run where nobody says which module the pipeline is in", async () => {
    const { module: _, ...without } = { module }
    const error = await Effect.runPromise(
      Effect.flip(
        run(children, { params: { notes, does: "tell" }, slots: { gpu: 1 }, ...without }).pipe(
          Effect.provide(FileStore.layer({ root: join(folder, "store") }))
        )
      )
    )
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Job" })
  })

  it("is refused where the program cannot be started", async () => {
    const executors = [Process.make({ command: ["/nowhere/node"] })]
    const error = await failure("tell", { executors, retries: 0 })
    expect(error).toMatchObject({ reason: "Lost" })
    expect(error.message).toContain("the program /nowhere/node cannot be started")
  })

  it("that an edit has overtaken is refused, and says what differs", async () => {
    const edited = join(folder, "children.ts")
    symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"))
    const text = readFileSync(new URL(module), "utf8")
    writeFileSync(edited, text.replace('"these are my last words', '"those are my last words'))
    const error = await failure("tell", { module: pathToFileURL(edited).href })
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Job", where: "child" })
    expect(error.message).toContain("code changed")
    expect(noted()).toEqual([])
  })

  it("needs a GPU, which this run has not", async () => {
    const error = await failure("tell", { slots: { gpu: [] } })
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Resources" })
  })
})

describe("children end", () => {
  const processes = async () => {
    await until(() => noted().length === 2)
    return noted().map((line) => Number(line.split(" ").at(-1)))
  }

  it("with what they started, when the run is interrupted", async () => {
    const controller = new AbortController()
    const ended = Effect.runPromiseExit(start("hang"), { signal: controller.signal })
    const pids = await processes()
    expect(pids.every(alive)).toBe(true)
    controller.abort()
    await ended
    for (const pid of pids) await gone(pid)
    expect(readdirSync(join(folder, "store/tmp"))).toEqual([])
    expect(readdirSync(join(folder, "store/leases"))).toEqual([])
  })

  it.each(["SIGTERM", "SIGKILL"] as const)(
    "with what they started, when the run is ended by %s",
    async (signal) => {
      const main = join(import.meta.dirname, "children/main.ts")
      const parent = spawn(
        process.execPath,
        ["--import", "tsx", main, join(folder, "store"), notes, "hang"],
        { cwd: repository, stdio: "ignore" }
      )
      const closed = new Promise((resolve) => parent.on("close", resolve))
      const pids = await processes()
      parent.kill(signal)
      await closed
      for (const pid of pids) await gone(pid)
      expect(pids.some(alive)).toBe(false)
    }
  )
})
