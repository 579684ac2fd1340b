/** What a run does when tasks fail: stops, tries again, or goes on with the rest. */
import { document, gather, pipeline, shard, stage } from "@tessera/core"
import { Data, Effect, Schema, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { run, RunFailed, type RunOptions } from "../src/index.js"
import { failure, folder, inStore, listener } from "./harness.js"
import { broken, module, Numbers, ran, scale, source, sums, total } from "./stages.js"

const Text = document("Text/1", Schema.String)
const nothing = Schema.Struct({})

class Busy extends Data.TaggedError("Busy")<{ readonly code: number }> {}

describe("a transient failure", () => {
  const flaky = (failures: number, code = 503) => {
    let attempts = 0
    const made = stage("flaky", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      run: () =>
        Effect.suspend(() =>
          attempts++ < failures ? Effect.fail(new Busy({ code })) : Effect.succeed({ text: "done" })
        ),
      retry: { transient: (error) => error.code === 503, times: 2, pause: "1 millis" }
    })
    return { flaky: pipeline("flaky", { t: made({}, {}).text }), attempts: () => attempts }
  }

  it("is tried again, and told", async () => {
    const { flaky: twice, attempts } = flaky(2)
    const heard = listener()
    const result = await inStore(folder(), run(twice, { onEvent: heard.onEvent }))
    expect(result.executed).toBe(1)
    expect(attempts()).toBe(3)
    expect(heard.of("TaskRetried").map(({ attempt }) => attempt)).toEqual([1, 2])
    expect(heard.of("TaskFailed")).toEqual([])
  })

  it("is a failure after the last attempt", async () => {
    const { flaky: always, attempts } = flaky(9)
    const heard = listener()
    expect(await failure(folder(), run(always, { onEvent: heard.onEvent }))).toMatchObject({
      _tag: "StageFailed",
      cause: { _tag: "Busy" }
    })
    expect(attempts()).toBe(3)
    expect(heard.of("TaskFailed")).toHaveLength(1)
  })

  it("of another kind than the stage declares is not tried again", async () => {
    const { flaky: other, attempts } = flaky(1, 400)
    await failure(folder(), run(other))
    expect(attempts()).toBe(1)
  })

  it("is not tried again where the run allows no retries", async () => {
    const { flaky: once, attempts } = flaky(1)
    await failure(folder(), run(once, { retries: 0 }))
    expect(attempts()).toBe(1)
  })

  it("gives its cores to others while it waits", async () => {
    const root = folder()
    let attempts = 0
    const waits = stage("waits", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      // Succeeds only after the other stage ran: on the one core, that is during the pause.
      run: () =>
        Effect.suspend(() =>
          attempts++ === 0 || !ran.includes("source")
            ? Effect.fail(new Busy({ code: 503 }))
            : Effect.succeed({ text: "after" })
        ),
      retry: { transient: () => true, times: 1, pause: "200 millis" }
    })
    const both = pipeline("both", { first: waits({}, {}).text, second: source({}, {}).numbers })
    expect((await inStore(root, run(both, { concurrency: 1 }))).executed).toBe(2)
  })
})

describe("a time limit", () => {
  it("stops an attempt, tells which and how long, and leaves nothing running", async () => {
    let stopped = false
    const endless = stage("endless", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      timeout: "20 millis",
      run: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (stopped = true)))
    })
    const error = await failure(folder(), run(pipeline("endless", { t: endless({}, {}).text })))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Timeout", where: "endless" })
    expect(error.message).toBe("endless: was stopped after 20ms, the longest its stage allows")
    expect(stopped).toBe(true)
  })
})

describe("a run that keeps going", () => {
  const keepGoing: RunOptions = { keepGoing: true, concurrency: 1 }

  it("computes all shards that do not fail, and reports the failures together", async () => {
    const root = folder()
    broken.add("a").add("c")
    const heard = listener()
    const error = await failure(root, run(sums, { ...keepGoing, onEvent: heard.onEvent }))
    expect(error).toBeInstanceOf(RunFailed)
    expect(error.message.split("\n")).toEqual([
      "2 tasks failed:",
      "  stage scale (shard a) failed: group a is broken",
      "  stage scale (shard c) failed: group c is broken",
      "  not run for want of them: total"
    ])
    expect(ran).toEqual(["source", "scale a", "scale b", "scale c"])
    expect(heard.of("NodeSkipped")).toMatchObject([{ node: "total", because: ["scale"] }])
    expect(heard.of("RunFinished")).toMatchObject([{ outcome: "failed", targets: {} }])
    ran.length = 0
    broken.clear()
    const repaired = await inStore(root, run(sums))
    expect(ran.toSorted()).toEqual(["scale a", "scale c", "total"])
    expect(repaired.targets).toEqual((await inStore(folder(), run(sums))).targets)
  })

  it("takes the shards that are left through the stages behind, and gathers nothing that is not whole", async () => {
    broken.add("b")
    const halves = scale.each(
      { numbers: shard(source({}, {}).numbers, "group") },
      { by: 3 },
      { name: "first" }
    )
    const again = stage("again", {
      version: "1",
      module,
      inputs: { numbers: Numbers },
      outputs: { numbers: Numbers },
      params: nothing,
      run: ({ numbers }) =>
        Effect.gen(function* () {
          const rows = [...(yield* Stream.runCollect(numbers.rows))]
          ran.push(`again ${rows[0]?.group}`)
          return { numbers: Stream.fromIterable(rows) }
        })
    })
    const second = again.each({ numbers: halves.scaled }, {}).numbers
    const chain = pipeline("chain", {
      total: total({ numbers: gather(second) }, {}).total,
      other: total({ numbers: source({}, {}).numbers }, {}, { name: "other" }).total
    })
    const root = folder()
    const error = await failure(root, run(chain, keepGoing))
    expect(error).toMatchObject({ _tag: "RunFailed", skipped: ["again", "total"] })
    expect(ran.filter((what) => what.startsWith("again"))).toEqual(["again a", "again c"])
    // `other` needs nothing of it.
    expect(ran.filter((what) => what === "total")).toHaveLength(1)
  })

  it("stops all the same where the store fails", async () => {
    const full = pipeline("full", {
      tree: stage("folder", {
        version: "1",
        module,
        inputs: {},
        outputs: { text: Text },
        params: nothing,
        run: (_, __, task) =>
          Effect.as(
            Effect.promise(() =>
              import("node:fs/promises").then((fs) => fs.rm(task.scratch, { recursive: true }))
            ),
            { text: "x" }
          )
      })({}, {}).text
    })
    // A store whose blobs folder is a file.
    const root = folder()
    await (await import("node:fs/promises")).writeFile(`${root}/blobs`, "")
    expect((await failure(root, run(full, keepGoing)))._tag).toBe("StoreError")
  })
})

describe("the order of tasks", () => {
  it("puts the critical path first, by what the nodes took before", async () => {
    const order: Array<string> = []
    const node = (id: string) =>
      stage(id, {
        version: "1",
        module,
        inputs: {},
        outputs: { text: Text },
        params: Schema.Struct({ millis: Schema.Number }),
        reproducible: "no",
        run: (_, { millis }) =>
          Effect.delay(
            Effect.sync(() => {
              order.push(id)
              return { text: id }
            }),
            millis
          )
      })
    const slowLast = pipeline("order", {
      quick: node("quick")({}, { millis: 1 }).text,
      medium: node("medium")({}, { millis: 30 }).text,
      slow: node("slow")({}, { millis: 80 }).text
    })
    const root = folder()
    await inStore(root, run(slowLast, { concurrency: 1 }))
    expect(order).toEqual(["quick", "medium", "slow"])
    order.length = 0
    await inStore(root, run(slowLast, { concurrency: 1 }))
    // The first task cannot wait for others that are not there yet; of the rest the longest goes first.
    expect(order.indexOf("slow")).toBeLessThan(order.indexOf("medium"))
  })
})
