/** What gc may take while others work with the store: nothing of a run under way, of a leased key, or within the grace period. */
import { existsSync, readdirSync, utimesSync } from "node:fs"
import { join } from "node:path"
import { document, gather, pipeline, shard, stage } from "@tessera/core"
import { Store } from "@tessera/store"
import { Deferred, Duration, Effect, Fiber, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { type Keep, garbage, run } from "../src/index.js"
import { folder, inStore, listener } from "./harness.js"
import { module, scale, source, sums, total } from "./stages.js"

const Note = document("Note/1", Schema.String)
const DAYS = 30

/** As if so many days had passed since all that is there was written or used. */
const age = (root: string, days = DAYS): void => {
  const at = Date.now() / 1000 - days * 86_400
  for (const part of ["actions", "blobs", "runs"].filter((name) => existsSync(join(root, name))))
    for (const entry of readdirSync(join(root, part), { recursive: true, withFileTypes: true }))
      if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), at, at)
}

/** Collects as hard as it can, and removes. */
const collect = (keep: Keep = {}, grace: Duration.Duration = Duration.zero) =>
  Effect.gen(function* () {
    const store = yield* Store
    const found = yield* garbage(keep, grace)
    return yield* store.maintenance.remove(found, found.youngest)
  })

const nothing = { runs: [], actions: [], blobs: [] }

/** `sums`, and beside it a stage that waits until it is let go, having put something that nothing names yet. */
const waiting = (begun: Deferred.Deferred<void>, go: Deferred.Deferred<void>) => {
  const wait = stage("wait", {
    version: "1",
    module,
    inputs: {},
    outputs: { note: Note },
    params: Schema.Struct({}),
    run: () =>
      Effect.as(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(go)), { note: "waited" })
  })
  const { scaled } = scale.each({ numbers: shard(source({}, {}).numbers, "group") }, {})
  return pipeline("waiting", { total: total({ numbers: gather(scaled) }, {}).total, note: wait({}, {}).note })
}

describe("gc", () => {
  it("takes nothing that a run under way made, used or may be about to name, however old that was", async () => {
    const root = folder()
    await inStore(root, run(sums))
    await inStore(root, run(sums, { params: { by: 7 } }))
    age(root)
    const program = Effect.gen(function* () {
      const store = yield* Store
      const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const { of, onEvent } = listener()
      const running = yield* Effect.fork(run(waiting(begun, go), { onEvent }))
      yield* Deferred.await(begun)
      const cached = Effect.sync(() => of("TaskCached").length)
      yield* Effect.repeat(Effect.delay(cached, 20), { until: (n) => n === 5 })
      const [live = ""] = yield* store.runs
      const unnamed = yield* store.putDocument(Note, "a stage of the run may be about to return this")
      const gone = yield* collect()
      expect(gone.runs).not.toContain(live)
      expect(gone.blobs.map(({ digest }) => digest)).not.toContain(unnamed.digest)
      // The results of the other parameters went.
      expect(gone.actions.length).toBeGreaterThan(0)
      yield* Deferred.succeed(go, undefined)
      const { cached: hits, executed } = yield* Fiber.join(running)
      expect([hits, executed]).toEqual([5, 1])
      // All of it is still there.
      return yield* run(waiting(begun, go))
    })
    expect(await inStore(root, program)).toMatchObject({ executed: 0 })
    age(root, DAYS)
    const later = await inStore(root, collect())
    expect(later.runs.length).toBeGreaterThan(0)
  })

  it("takes nothing that was written or used since a key was leased by a run that does not show itself", async () => {
    const root = folder()
    const program = Effect.gen(function* () {
      const store = yield* Store
      const at = new Date(Date.now() - DAYS * 86_400_000).toISOString()
      const id = "01A0000000000000000000000A"
      const started = { _tag: "RunStarted", at, run: id, pipeline: "p", params: {}, nodes: ["n"] }
      yield* store.appendEvent(id, started)
      const note = yield* store.putDocument(Note, "not named yet")
      const leased = Effect.zipRight(store.lease(`sha256:${"ab".repeat(32)}`), collect())
      expect(yield* Effect.scoped(leased)).toEqual(nothing)
      // Its lease given back, it counts as killed, and that was long ago.
      age(root, 1)
      const gone = yield* collect()
      expect([gone.runs, gone.blobs.map(({ digest }) => digest)]).toEqual([[id], [note.digest]])
    })
    await inStore(root, program)
  })

  it("takes nothing within the grace period, though no run is kept", async () => {
    const root = folder()
    await inStore(root, run(sums))
    expect(await inStore(root, collect({}, Duration.days(1)))).toEqual(nothing)
    const gone = await inStore(root, collect())
    expect([gone.runs.length, gone.actions.length > 0, gone.blobs.length > 0]).toEqual([1, true, true])
  })

  it("keeps for a week what a killed run committed, and not longer because another run is under way", async () => {
    const root = folder()
    const program = Effect.gen(function* () {
      const store = yield* Store
      const started = (id: string, days: number) =>
        store.appendEvent(id, {
          _tag: "RunStarted",
          at: new Date(Date.now() - days * 86_400_000).toISOString(),
          run: id,
          pipeline: "p",
          params: {},
          nodes: ["n"]
        })
      const [old, recent, live] = ["A", "B", "C"].map((end) => `01A000000000000000000000${end}0`)
      yield* started(old ?? "", 8)
      yield* started(recent ?? "", 6)
      yield* started(live ?? "", 0)
      yield* store.runs
      age(root, 6)
      const gone = yield* Effect.scoped(Effect.zipRight(store.attend(live ?? ""), collect()))
      expect(gone.runs).toEqual([old])
    })
    await inStore(root, program)
  })
})
