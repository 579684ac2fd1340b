/** What happens to a worker process, with a real one that does as it is told. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { CurrentTask, type Progress } from "@tessera/core"
import { Deferred, Effect, Exit, Fiber, type Scope } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import * as Worker from "../src/Worker.js"
import * as Workers from "../src/Workers.js"

const folder = mkdtempSync(join(tmpdir(), "tessera-worker-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fake = fileURLToPath(new URL("fakeWorker.mjs", import.meta.url))
const start = (scenario: string, patience: Worker.Patience = {}, file = "") =>
  Worker.start({
    program: process.execPath,
    args: [fake, scenario, file],
    env: { PATH: process.env["PATH"] ?? "" },
    patience
  })
const load = (worker: Worker.Worker) =>
  worker.ask("load", { folder: "/model", device: "auto", dtype: "auto" })
const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(effect))

/** The error of starting a worker, or of asking it. */
const failure = (scenario: string, patience?: Worker.Patience) =>
  run(Effect.flip(Effect.flatMap(start(scenario, patience), load)))

const running = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const until = (done: () => boolean) =>
  Effect.gen(function* () {
    while (!done()) yield* Effect.sleep("20 millis")
  }).pipe(Effect.timeout("10 seconds"))

describe("a worker that cannot run here", () => {
  it.each([
    ["older", /speaks protocol 0, this version 1; install both from one release/],
    ["no torch", /torch is missing from \/usr; make an environment with `tessera doctor --install torch`/],
    ["no gpu", /PyTorch sees no CUDA device; check the driver/],
    ["no module", /ended with exit code 1; its last words:\nNo module named tessera_worker/]
  ])("says what to do: %s", async (scenario, message) => {
    const error = await failure(scenario)
    expect(error).toMatchObject({ _tag: "RuntimeError", reason: "Unavailable" })
    expect(error.message).toMatch(message)
  })

  it("names the program that is not there", async () => {
    const error = await run(
      Effect.flip(Worker.start({ program: "/no/python", args: [], env: {}, patience: {} }))
    )
    expect(error).toMatchObject({ reason: "Unavailable" })
    expect(error.message).toMatch(/\/no\/python cannot be started.*TESSERA_PYTHON/s)
  })
})

describe("a worker that fails", () => {
  it.each([
    ["exits", "WorkerDied", /ended with exit code 1; its last words:\n.*illegal memory access/],
    ["killed once", "WorkerDied", /was killed by SIGKILL/],
    ["garbage", "Execution", /not of its protocol: "Loading checkpoint shards/],
    ["wrong", "Execution", /answer to load is not of its protocol/],
    ["out of memory", "OutOfMemory", /7 GiB are missing; use a shorter length/]
  ])("is a tagged error: %s", async (scenario, reason, message) => {
    const error = await run(Effect.flip(Effect.flatMap(start(scenario, {}, join(folder, "once")), load)))
    expect(error).toMatchObject({ _tag: "RuntimeError", reason })
    expect(error.message).toMatch(message)
  })

  it("and hangs is killed: without greeting, sign of life or progress", async () => {
    for (const [scenario, patience, message] of [
      ["mute", { greeting: "300 millis" }, /did not greet within 300ms/],
      ["lifeless", { alive: "300 millis" }, /no sign of life for 300ms/],
      ["stuck", { stall: "300 millis" }, /no progress for 300ms/]
    ] as const) {
      const error = await failure(scenario, patience)
      expect(error).toMatchObject({ reason: "Hung" })
      expect(error.message).toMatch(message)
    }
  })

  it("is replaced when it is asked again", async () => {
    const file = join(folder, "killed-once")
    const [died, pids] = await run(
      Effect.gen(function* () {
        const workers = yield* Workers.make(() => start("killed once", {}, file))
        const { worker } = yield* workers.at("")
        const first = yield* worker
        const died = yield* Effect.flip(load(first))
        const second = yield* worker
        expect(yield* load(second)).toMatchObject({ model: "m1" })
        expect(yield* worker).toBe(second)
        return [died, [first.pid, second.pid]] as const
      })
    )
    expect(died).toMatchObject({ reason: "WorkerDied" })
    expect(died.message).toMatch(/about to die/)
    expect(pids[0]).not.toBe(pids[1])
  })
})

describe("a worker that works", () => {
  it("may take its time to start, and to answer while it makes progress", async () => {
    const seen: Array<Progress> = []
    const task = {
      scratch: folder,
      slots: {},
      report: (progress: Progress) => Effect.sync(() => void seen.push(progress))
    }
    const answer = await run(
      Effect.gen(function* () {
        yield* start("slow")
        const worker = yield* start("works", { stall: "300 millis" })
        return yield* Effect.provideService(load(worker), CurrentTask, task)
      })
    )
    expect(answer).toEqual({ model: "m1", dtype: "float32", device: "cpu", parameters: 1, deviceMap: null })
    expect(seen).toEqual([1, 2, 3, 4].map((done) => ({ done, total: 4, unit: "items" })))
  })

  it("is one for each set of GPUs, and ends with its scope", async () => {
    const pids = await run(
      Effect.gen(function* () {
        const workers = yield* Workers.make(() => start("good"))
        const at = (devices: string) =>
          Effect.flatMap(workers.at(devices), ({ worker }) => Effect.map(worker, ({ pid }) => pid ?? 0))
        const [a, b, again] = [yield* at("0"), yield* at("1"), yield* at("0")]
        expect([again, running(a), running(b)]).toEqual([a, true, true])
        expect(a).not.toBe(b)
        return [a, b]
      })
    )
    expect(pids.map(running)).toEqual([false, false])
  })
})

describe("an interruption", () => {
  it("stops what was asked and leaves the worker to others", async () => {
    const file = join(folder, "stops")
    const alive = await run(
      Effect.gen(function* () {
        const worker = yield* start("stops", {}, file)
        const asked = yield* Effect.fork(load(worker))
        yield* until(() => existsSync(file))
        yield* Fiber.interrupt(asked)
        return yield* worker.alive
      })
    )
    expect(alive).toBe(true)
    const lines = readFileSync(file, "utf8").trim().split("\n")
    expect(lines.map((line): unknown => JSON.parse(line))).toEqual([
      { id: 1, method: "load", params: { folder: "/model", device: "auto", dtype: "auto" } },
      { cancel: 1 }
    ])
  })

  it("kills a worker that does not stop", async () => {
    await run(
      Effect.gen(function* () {
        const worker = yield* start("stuck", { cancel: "200 millis" })
        const asked = yield* Effect.fork(load(worker))
        yield* Effect.sleep("100 millis")
        yield* Fiber.interrupt(asked)
        expect([yield* worker.alive, running(worker.pid ?? 0)]).toEqual([false, false])
      })
    )
  })

  it("of its scope ends the worker with all that it started, even one that does not want to", async () => {
    const file = join(folder, "family")
    const exit = await Effect.runPromise(
      Effect.gen(function* () {
        const ready = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          Effect.scoped(
            Effect.gen(function* () {
              yield* start("family", { end: "300 millis" }, file)
              yield* Deferred.succeed(ready, undefined)
              yield* Effect.never
            })
          )
        )
        yield* Deferred.await(ready)
        return yield* Fiber.interrupt(fiber)
      })
    )
    expect(Exit.isInterrupted(exit)).toBe(true)
    const [pids = "", ...signals] = readFileSync(file, "utf8").trim().split("\n")
    expect(signals).toEqual(["SIGTERM"])
    expect(pids.split(" ").map(Number).map(running)).toEqual([false, false])
  })
})
