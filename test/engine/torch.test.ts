/** Workers that are killed while items are profiled: what was committed is kept, what was not is done again. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeContext } from "@effect/platform-node"
import { CalibrationSet, Model } from "@tessera/attention"
import { pipeline, source } from "@tessera/core"
import { demoModelPath } from "@tessera/demo"
import { run, type RunEvent, type RunOptions } from "@tessera/engine"
import { profile } from "@tessera/profiler-gradient"
import { RuntimeTorch, TorchWorkers } from "@tessera/runtime-torch"
import { FileStore } from "@tessera/store"
import { given } from "@tessera/testing"
import { Effect, Either, Layer, ManagedRuntime } from "effect"
import fc from "fast-check"
import { afterAll, describe, expect, it } from "vitest"
import { calibrationItem } from "../conformance/fixtures.js"
import { torchPython } from "../python/Torch.js"

const python = await torchPython("no worker of runtime-torch is killed")
const seed = Number(process.env["TESSERA_KILL_SEED"] ?? 20261124)

/** When a worker is killed: after so many items of this run, and a moment later. */
const aKill = fc.record({ items: fc.integer({ min: 1, max: 6 }), millis: fc.integer({ min: 0, max: 500 }) })
type Kill = typeof aKill extends fc.Arbitrary<infer A> ? A : never

const root = mkdtempSync(join(tmpdir(), "tessera-torch-kills-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const ITEMS = 20
const items = Array.from({ length: ITEMS }, (_, i) => ({
  ...calibrationItem("x".repeat(i + 1), 128, 16),
  item: `item-${i}`
}))
const profiled = pipeline(
  "profiled",
  profile(
    { model: source(Model, demoModelPath), calibration: given(CalibrationSet, items) },
    { block: 16, sink: 16 }
  )
)

describe.skipIf(python === undefined)("a worker killed while 20 items are profiled", () => {
  const torch = ManagedRuntime.make(
    RuntimeTorch.layer({ device: "cpu", threads: 1, ...(python === undefined ? {} : { python }) }).pipe(
      Layer.provideMerge(NodeContext.layer)
    )
  )
  afterAll(() => torch.dispose())

  const kill = Effect.gen(function* () {
    const workers = yield* TorchWorkers
    const { pid } = yield* (yield* workers.at("")).worker
    if (pid !== undefined) process.kill(pid, "SIGKILL")
  }).pipe(Effect.scoped, Effect.ignore)

  /** Runs, and kills the worker some time after so many items. */
  const runIn = (store: string, options: RunOptions, killed?: Kill) => {
    const of = (events: ReadonlyArray<RunEvent>, tag: RunEvent["_tag"]) =>
      events.filter((event) => event._tag === tag && "node" in event && event.node === "profile-item").length
    const events: Array<RunEvent> = []
    let armed = killed
    const onEvent = (event: RunEvent) =>
      Effect.sync(() => {
        events.push(event)
        if (armed === undefined || of(events, "TaskCommitted") < armed.items) return
        torch.runFork(Effect.delay(kill, armed.millis))
        armed = undefined
      })
    return torch
      .runPromise(
        Effect.either(run(profiled, { ...options, onEvent })).pipe(
          Effect.provide(FileStore.layer({ root: join(root, store) }))
        )
      )
      .then((result) => ({
        result,
        committed: of(events, "TaskCommitted"),
        cached: of(events, "TaskCached"),
        retried: of(events, "TaskRetried")
      }))
  }

  const undisturbed = runIn("undisturbed", {})

  it(
    "the rerun profiles only what was not committed, and the result is that of an undisturbed run",
    { timeout: 15 * 60_000 },
    async () => {
      const whole = await undisturbed
      expect(whole.committed).toBe(ITEMS)
      // After the last of them it ends by itself.
      const kills: ReadonlyArray<Kill | undefined> = [...fc.sample(aKill, { seed, numRuns: 3 }), undefined]
      let done = 0
      let deaths = 0
      for (const kill of kills) {
        const { result, committed, cached } = await runIn("killed", { retries: 0 }, kill)
        expect(cached, `seed ${seed}, after ${deaths} deaths`).toBe(done)
        done += committed
        if (Either.isRight(result)) {
          expect(done).toBe(ITEMS)
          expect(Either.map(whole.result, ({ targets }) => targets)).toEqual(
            Either.right(result.right.targets)
          )
          break
        }
        expect(String(result.left)).toMatch(/was killed by SIGKILL/)
        deaths++
      }
      expect(deaths).toBeGreaterThan(0)
    }
  )

  it("the engine tries its task again by itself", { timeout: 15 * 60_000 }, async () => {
    const whole = await undisturbed
    const { result, committed, retried } = await runIn("retried", {}, { items: 3, millis: 100 })
    expect(retried).toBeGreaterThan(0)
    expect(committed).toBe(ITEMS)
    expect(Either.map(result, ({ targets }) => targets)).toEqual(
      Either.map(whole.result, ({ targets }) => targets)
    )
  })
})
