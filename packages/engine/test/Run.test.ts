import { CurrentTask, document, pipeline, provide, type Resources, stage, tree } from "@tessera/core"
import { Store } from "@tessera/store"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Schema, Stream } from "effect"
import { rm, writeFile } from "node:fs/promises"
import { describe, expect, it } from "vitest"
import { run } from "../src/index.js"
import { exitIn, failure, folder, inStore, listener, storeAt } from "./harness.js"
import { broken, module, Numbers, ran, source, sums, total } from "./stages.js"

const Text = document("Text/1", Schema.String)
const nothing = Schema.Struct({})

const totalOf = (root: string, result: Awaited<ReturnType<typeof runSums>>) =>
  inStore(
    root,
    Effect.scoped(
      Effect.gen(function* () {
        const store = yield* Store
        const artifact = result.targets["total"]
        if (artifact === undefined) return yield* Effect.dieMessage("no target")
        const reader = yield* store.open(
          document("Total/1", Schema.Struct({ total: Schema.Number, note: Schema.String })),
          artifact
        )
        return yield* reader.value
      })
    )
  )
const runSums = (root: string, options: Parameters<typeof run>[1] = {}) => inStore(root, run(sums, options))

describe("a run", () => {
  it("computes shards that the data decides, gathers them in order, and serves the second run from the store", async () => {
    const root = folder()
    const first = await runSums(root, { params: { groups: ["b", "a"] } })
    expect([first.cached, first.executed]).toEqual([0, 4])
    expect(await totalOf(root, first)).toEqual({ total: 24, note: "sum" })
    expect(first.targets["scaled"]).toMatchObject({ kind: "table", type: "Numbers/1", rows: 6 })
    ran.length = 0
    const second = await runSums(root, { params: { groups: ["b", "a"] } })
    expect([second.cached, second.executed, ran]).toEqual([4, 0, []])
    expect(second.targets).toEqual(first.targets)
  })

  it("recomputes what a parameter reaches and nothing before it", async () => {
    const root = folder()
    await runSums(root)
    ran.length = 0
    await runSums(root, { params: { by: 3 } })
    expect(ran.toSorted()).toEqual(["scale a", "scale b", "scale c", "total"])
    ran.length = 0
    await runSums(root, { params: { by: 3 }, set: { total: { note: "again" } } })
    expect(ran).toEqual(["total"])
  })

  it("computes only new shards when data is added", async () => {
    const root = folder()
    await runSums(root)
    ran.length = 0
    await runSums(root, { params: { groups: ["a", "b", "c", "d"] } })
    expect(ran.toSorted()).toEqual(["scale d", "source", "total"])
  })

  it("stops where a recomputed result is equal to the earlier one", async () => {
    const root = folder()
    const first = await runSums(root)
    ran.length = 0
    const second = await runSums(root, { set: { source: { note: "changes nothing" } } })
    expect(ran).toEqual(["source"])
    expect(second.targets).toEqual(first.targets)
  })

  it("computes only the targets asked for", async () => {
    await runSums(folder(), { targets: ["scaled"] })
    expect(ran).not.toContain("total")
  })

  it("never serves a stage from the store that says it is not reproducible", async () => {
    let count = 0
    const dice = stage("dice", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      reproducible: "no",
      run: () => Effect.sync(() => ({ text: `throw ${++count}` }))
    })
    const root = folder()
    const once = run(pipeline("dice", { text: dice({}, {}).text }))
    const [a, b] = [await inStore(root, once), await inStore(root, once)]
    expect(count).toBe(2)
    expect(a.targets["text"]?.digest).not.toBe(b.targets["text"]?.digest)
  })

  it("keeps finished shards when another fails, and computes only the failed one afterwards", async () => {
    const root = folder()
    broken.add("b")
    const { onEvent, of } = listener()
    const error = await failure(root, run(sums, { concurrency: 1, onEvent }))
    expect(error).toMatchObject({
      _tag: "StageFailed",
      node: "scale",
      shard: "b",
      cause: { _tag: "Broken", group: "b" }
    })
    expect(error.message).toBe("stage scale (shard b) failed: group b is broken")
    expect(of("TaskFailed")).toMatchObject([{ node: "scale", shard: "b" }])
    expect(of("RunFinished")).toMatchObject([{ outcome: "failed" }])
    const before = [...ran]
    broken.clear()
    ran.length = 0
    const again = listener()
    await runSums(root, { onEvent: again.onEvent })
    expect(ran).toContain("scale b")
    expect(ran.filter((what) => before.includes(what) && what !== "scale b")).toEqual([])
    expect(again.of("TaskStarted").find(({ shard }) => shard === "b")?.reason).toBe("failed last time")
  })

  it("leaves nothing of an interrupted stage and resumes with equal digests", async () => {
    const gate = Effect.runSync(Deferred.make<void>())
    const reached = Effect.runSync(Deferred.make<void>())
    let closed = 0
    const slow = stage("slow", {
      version: "1",
      module,
      inputs: { numbers: Numbers },
      outputs: { copy: Numbers },
      params: nothing,
      run: ({ numbers }) =>
        Effect.gen(function* () {
          yield* Effect.addFinalizer(() => Effect.sync(() => void closed++))
          const stop = Stream.fromEffect(
            Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(gate))
          )
          return { copy: Stream.concat(numbers.rows, Stream.drain(stop)) }
        })
    })
    const copies = pipeline("copies", { copy: slow({ numbers: source({}, {}).numbers }, {}).copy })
    const root = folder()
    const { onEvent, of } = listener()
    const layer = storeAt(root)
    await Effect.runPromise(
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(run(copies, { onEvent }))
        yield* Deferred.await(reached)
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(layer))
    )
    expect(closed).toBe(1)
    expect(of("RunFinished")).toMatchObject([{ outcome: "interrupted" }])
    expect(of("TaskCommitted").map(({ node }) => node)).toEqual(["source"])
    Effect.runSync(Deferred.succeed(gate, undefined))
    const again = listener()
    const resumed = await inStore(root, run(copies, { onEvent: again.onEvent }))
    expect([resumed.cached, resumed.executed]).toEqual([1, 1])
    expect(again.of("TaskStarted")).toMatchObject([{ node: "slow", reason: "did not finish last time" }])
    const clean = await inStore(folder(), run(copies))
    expect(resumed.targets).toEqual(clean.targets)
  })

  it("runs as many stages side by side as there are cores, counting the cores a stage takes", async () => {
    let [now, most] = [0, 0]
    const busy = (cpu: number) =>
      stage(`busy-${cpu}`, {
        version: "1",
        module,
        inputs: {},
        outputs: { text: Text },
        params: Schema.Struct({ i: Schema.Int }),
        resources: { cpu },
        run: (_, { i }) =>
          Effect.acquireUseRelease(
            Effect.sync(() => (most = Math.max(most, (now += cpu)))),
            () => Effect.delay(Effect.succeed({ text: `${cpu} ${i}` }), "100 millis"),
            () => Effect.sync(() => (now -= cpu))
          )
      })
    const [one, two] = [busy(1), busy(2)]
    const targets = Object.fromEntries(
      Array.from({ length: 8 }, (_, i) => [`t${i}`, (i % 2 === 0 ? one : two)({}, { i }).text])
    )
    const result = await inStore(folder(), run(pipeline("busy", targets), { concurrency: 3 }))
    expect(result.executed).toBe(8)
    expect(most).toBe(3)
  })

  it("gives a stage all cores when it wants more than there are", async () => {
    const greedy = stage("greedy", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      resources: { cpu: 64, memory: 2 ** 60 },
      run: () => Effect.succeed({ text: "mine" })
    })
    const result = await inStore(
      folder(),
      run(pipeline("greedy", { t: greedy({}, {}).text }), { concurrency: 2 })
    )
    expect(result.executed).toBe(1)
  })

  it("lets a service say what a stage needs, and know the task that runs", async () => {
    class Device extends Context.Tag("Device")<
      Device,
      { readonly resources: Effect.Effect<Resources, string>; readonly name: Effect.Effect<string> }
    >() {}
    const on = (resources: Effect.Effect<Resources, string>) =>
      Layer.succeed(Device, {
        resources,
        name: Effect.map(CurrentTask, (task) => task?.slots["gpu"]?.join() ?? "no task")
      })
    const asks = stage("asks", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      resources: Effect.flatMap(Device, ({ resources }) => resources),
      run: () =>
        Effect.map(
          Effect.flatMap(Device, ({ name }) => name),
          (text) => ({ text })
        )
    })
    const slots = { gpu: ["7"] }
    const gpu = pipeline("asks", { t: asks({}, {}).text })
    const root = folder()
    const { targets } = await inStore(root, run(provide(gpu, on(Effect.succeed({ gpu: 1 }))), { slots }))
    const text = Effect.flatMap(Store, (store) =>
      Effect.flatMap(Effect.fromNullable(targets["t"]), (text) => store.open(Text, text))
    )
    expect(await inStore(root, Effect.scoped(Effect.flatMap(text, ({ value }) => value)))).toBe("7")
    const refused = await inStore(
      folder(),
      Effect.flip(run(provide(gpu, on(Effect.succeed({ gpu: 2 }))), { slots }))
    )
    expect(refused.message).toMatch(/needs 2 gpu slots, and the run has 1/)
    const broken = await inStore(
      folder(),
      Effect.flip(run(provide(gpu, on(Effect.fail("no driver"))), { slots }))
    )
    expect(broken.message).toMatch(/asks.*no driver/)
  })

  it.each([
    ["gone", (file: string) => rm(file)],
    ["damaged", (file: string) => writeFile(file, "not what it was")]
  ])("computes a result again whose blob is %s, and says so", async (_, damage) => {
    const root = folder()
    const first = await runSums(root)
    const digest = first.targets["total"]?.digest ?? ""
    await damage(
      await inStore(
        root,
        Effect.flatMap(Store, (store) => store.blobPath(digest))
      )
    )
    ran.length = 0
    const { onEvent, of } = listener()
    const second = await runSums(root, { onEvent })
    expect(ran).toEqual(["total"])
    expect(of("Warning")).toMatchObject([{ node: "total" }])
    expect(of("TaskStarted")).toMatchObject([{ node: "total", reason: "result missing or damaged" }])
    expect(second.targets).toEqual(first.targets)
    expect(await totalOf(root, second)).toEqual({ total: 36, note: "sum" })
  })

  it("tells events in order and logs all but progress", async () => {
    const root = folder()
    const counting = stage("counting", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      run: (_inputs, _params, { report }) =>
        Effect.as(
          Effect.forEach(
            Array.from({ length: 1000 }, (_, i) => i + 1),
            (done) => report({ done, total: 1000, unit: "items" })
          ),
          { text: "counted" }
        )
    })
    const { onEvent, events, of } = listener()
    const result = await inStore(root, run(pipeline("counting", { t: counting({}, {}).text }), { onEvent }))
    expect(events[0]).toMatchObject({ _tag: "RunStarted", pipeline: "counting", nodes: ["counting"] })
    expect(events.at(-1)).toMatchObject({
      _tag: "RunFinished",
      outcome: "succeeded",
      targets: result.targets
    })
    expect(of("TaskProgress").length).toBeLessThan(20)
    expect(of("TaskProgress").at(-1)).toMatchObject({ node: "counting", done: 1000 })
    const logged = await inStore(
      root,
      Effect.flatMap(Store, (store) => Stream.runCollect(store.events(result.run)))
    )
    expect([...logged]).toEqual(events.filter(({ _tag }) => _tag !== "TaskProgress"))
  })

  it("writes the files of a tree and reads them downstream", async () => {
    const Folder = tree("Folder/1")
    const write = stage("write", {
      version: "1",
      module,
      inputs: {},
      outputs: { folder: Folder },
      params: Schema.Struct({ path: Schema.String }),
      run: (_, { path }) =>
        Effect.succeed({ folder: { files: { [path]: "text", "bytes.bin": new Uint8Array([1, 2]) } } })
    })
    const list = stage("list", {
      version: "1",
      module,
      inputs: { folder: Folder },
      outputs: { text: Text },
      params: nothing,
      run: ({ folder }) =>
        Effect.map(
          Effect.promise(async () =>
            (await import("node:fs/promises")).readdir(folder.path, { recursive: true })
          ),
          (files) => ({ text: files.toSorted().join(" ") })
        )
    })
    const named = (path: string) =>
      pipeline("files", { text: list({ folder: write({}, { path }).folder }, {}).text })
    const root = folder()
    const result = await inStore(root, run(named("deep/er/file.txt")))
    const text = await inStore(
      root,
      Effect.scoped(
        Effect.gen(function* () {
          const store = yield* Store
          const artifact = yield* Option.fromNullable(result.targets["text"])
          return yield* (yield* store.open(Text, artifact)).value
        })
      )
    )
    expect(text).toBe("bytes.bin deep deep/er deep/er/file.txt")
    expect(await failure(root, run(named("../escape")))).toMatchObject({
      reason: "Output",
      where: "write.folder"
    })
  })
})

describe("a stage that breaks its word", () => {
  const returning = (result: unknown) => {
    const odd = stage("odd", {
      version: "1",
      module,
      inputs: {},
      outputs: { numbers: Numbers },
      params: nothing,
      // What a stage in plain JavaScript could return.
      run: () => Effect.succeed(result as { numbers: Stream.Stream<{ group: string; value: number }> })
    })
    return run(pipeline("odd", { numbers: odd({}, {}).numbers }))
  }
  it.each([
    ["returns nothing for a port", {}],
    ["returns something else than rows", { numbers: 5 }],
    ["returns rows of another shape", { numbers: Stream.make({ group: "a", other: 1 }) }],
    ["returns rows with a wrong value", { numbers: Stream.make({ group: "a", value: "one" }) }]
  ])("%s: the error names node and port, nothing is published", async (_, result) => {
    const root = folder()
    const error = await failure(root, returning(result))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Output", where: "odd.numbers" })
    const actions = await inStore(
      root,
      Effect.flatMap(Store, (store) => Stream.runCount(store.actions))
    )
    expect(actions).toBe(0)
  })

  it("throws: the error says that it is a bug in the stage", async () => {
    const throwing = stage("throwing", {
      version: "1",
      module,
      inputs: {},
      outputs: { text: Text },
      params: nothing,
      run: (): Effect.Effect<{ readonly text: string }> => {
        throw new TypeError("x is undefined")
      }
    })
    const error = await failure(folder(), run(pipeline("throwing", { t: throwing({}, {}).text })))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Defect", where: "throwing" })
    expect(error.message).toContain("TypeError: x is undefined")
  })

  it("fails while its rows are read: the failure is the stage's", async () => {
    const halfway = stage("halfway", {
      version: "1",
      module,
      inputs: {},
      outputs: { numbers: Numbers },
      params: nothing,
      run: () =>
        Effect.succeed({
          numbers: Stream.concat(Stream.make({ group: "a", value: 1 }), Stream.fail("torn" as const))
        })
    })
    const error = await failure(folder(), run(pipeline("halfway", { numbers: halfway({}, {}).numbers })))
    expect(error).toMatchObject({ _tag: "StageFailed", node: "halfway", cause: "torn" })
  })
})

describe("a wrong request", () => {
  it.each([
    [
      "a misspelt parameter of a node",
      { set: { total: { nota: "x" } } },
      "stage total: there is no parameter nota; did you mean note?"
    ],
    [
      "a misspelt node",
      { set: { totl: { note: "x" } } },
      "set: there is no node or stage totl; did you mean total?"
    ],
    [
      "a misspelt pipeline parameter",
      { params: { group: [] } },
      "pipeline sums: there is no parameter group; did you mean groups?"
    ],
    [
      "a misspelt target",
      { targets: ["scalde"] },
      "pipeline sums: there is no target scalde; did you mean scaled?"
    ],
    [
      "a value of the wrong type",
      { params: { by: "two" } },
      /pipeline sums: [^]*Expected number, actual "two"/
    ],
    [
      "a parameter JSON cannot hold",
      { params: { by: NaN } },
      "stage scale: value.by is NaN, which JSON cannot hold"
    ]
  ])("%s is refused before anything runs", async (_, options, message) => {
    const error = await failure(folder(), run(sums, options))
    expect(error._tag).toBe("GraphError")
    if (typeof message === "string") expect(error.message).toBe(message)
    else expect(error.message).toMatch(message)
    expect(ran).toEqual([])
  })

  it("shards that do not match are refused with the one that is missing", async () => {
    const { shard } = await import("@tessera/core")
    const pair = stage("pair", {
      version: "1",
      module,
      inputs: { left: Numbers, right: Numbers },
      outputs: { text: Text },
      params: nothing,
      run: () => Effect.succeed({ text: "paired" })
    })
    const left = shard(source({}, { groups: ["a", "b"] }).numbers, "group")
    const right = shard(source({}, { groups: ["a", "c"] }, { name: "other" }).numbers, "group")
    const error = await failure(folder(), run(pipeline("pair", { t: pair.each({ left, right }, {}).text })))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Shards", where: "pair" })
    expect(error.message).toBe("pair: left has a shard b that right has not")
  })

  it("two nodes of one name are refused", async () => {
    const twice = pipeline("twice", {
      a: source({}, {}, { name: "same" }).numbers,
      b: source({}, { groups: [] }, { name: "same" }).numbers
    })
    expect(await failure(folder(), run(twice))).toMatchObject({ _tag: "GraphError", reason: "DuplicateName" })
  })
})

it("runs over no shards at all", async () => {
  const root = folder()
  const result = await inStore(root, run(sums, { params: { groups: [] } }))
  expect(ran).toEqual(["source", "total"])
  expect(await totalOf(root, result)).toEqual({ total: 0, note: "sum" })
})

it("gives one artifact per shard for a sharded target", async () => {
  const { shard } = await import("@tessera/core")
  const result = await inStore(
    folder(),
    run(pipeline("parts", { part: shard(source({}, {}).numbers, "group") }))
  )
  expect(Object.keys(result.targets)).toEqual(["part/a", "part/b", "part/c"])
})

it("computes equal work of one run once", async () => {
  const { numbers } = source({}, {})
  const twins = pipeline("twins", {
    a: total({ numbers }, {}).total,
    b: total({ numbers }, {}, { name: "b" }).total
  })
  const exit = await exitIn(folder(), run(twins, { concurrency: 4 }))
  expect(Exit.isSuccess(exit)).toBe(true)
  expect(ran).toEqual(["source", "total"])
})
