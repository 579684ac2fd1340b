import * as fs from "node:fs"
import fsPromises from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { document, key as keyOf, type Manifest } from "@tessera/core"
import { Duration, Effect, Fiber, Schema } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { FileStore, Store } from "../src/index.js"
import { layout as layoutAt } from "../src/Layout.js"
import { lease, watch } from "../src/Leases.js"
import { uniqueName } from "../src/Owner.js"

const KEY = `sha256:${"cd".repeat(32)}`
const times = { heartbeat: Duration.millis(20), expiry: Duration.millis(400) }

let root = ""
beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), "leases-"))
})
afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

const folder = () => layoutAt(root).lease(KEY)
const holders = () => fs.readdirSync(folder())
/** Puts a lease there as a process of the given start and machine would. */
const put = (change: (parts: Array<string>) => Array<string>): string => {
  const file = join(folder(), `${change(uniqueName().split("-")).join("-")}~elsewhere`)
  fs.mkdirSync(folder(), { recursive: true })
  fs.writeFileSync(file, "")
  return file
}
const ofDead = () => put(([pid = "", , ...rest]) => [pid, "1", ...rest])
const ofAnother = () => put(([pid = "", start = "", , ...rest]) => [pid, start, "0123456789", ...rest])

const told: Array<string> = []
beforeEach(() => void (told.length = 0))
const take = Effect.suspend(() =>
  lease(layoutAt(root), KEY, (detail) => Effect.sync(() => void told.push(detail)), times)
)
const nowAndThen = (effect: Effect.Effect<void>) =>
  Effect.forkScoped(Effect.forever(Effect.delay(effect, 20)))

describe("a lease", () => {
  it("is held by one at a time and leaves nothing", async () => {
    let [inside, most, all] = [0, 0, 0]
    const once = Effect.scoped(
      Effect.gen(function* () {
        yield* take
        most = Math.max(most, ++inside)
        all++
        yield* Effect.sleep("1 millis")
        inside--
      })
    )
    await Effect.runPromise(
      Effect.all(
        Array.from({ length: 12 }, () => once),
        { concurrency: "unbounded" }
      )
    )
    expect([most, all, told]).toEqual([1, 12, []])
    expect(fs.readdirSync(join(root, "leases"))).toEqual([])
    expect(fs.readdirSync(join(root, "tmp"))).toEqual([])
  })

  it.runIf(process.platform === "linux")(
    "of a dead process is taken over by one of many, who tells",
    async () => {
      ofDead()
      let [inside, most] = [0, 0]
      const once = Effect.scoped(
        Effect.gen(function* () {
          yield* take
          most = Math.max(most, ++inside)
          yield* Effect.sleep("1 millis")
          inside--
        })
      )
      await Effect.runPromise(
        Effect.all(
          Array.from({ length: 12 }, () => once),
          { concurrency: "unbounded" }
        )
      )
      expect(most).toBe(1)
      expect(told).toEqual([
        `took over the lease of ${KEY} from process ${process.pid} on elsewhere, which died`
      ])
    }
  )

  it.each([
    ["an hour behind", -3600],
    ["an hour ahead", 3600]
  ])("of another machine whose clock is %s is believed as long as its file changes", async (_, shift) => {
    const file = ofAnother()
    let beats = 0
    const beat = Effect.sync(() => {
      const at = Date.now() / 1000 + shift
      fs.utimesSync(file, at, at)
      beats++
    })
    const waited = Effect.gen(function* () {
      yield* nowAndThen(beat)
      yield* take
    })
    // Several times as long as a silent one would be.
    await Effect.runPromise(Effect.option(Effect.timeout(Effect.scoped(waited), "2 seconds")))
    expect(beats).toBeGreaterThan(2)
    expect([holders(), told]).toEqual([[file.split("/").at(-1)], []])
  })

  it.each([
    ["an hour ago", -3600],
    ["in an hour", 3600]
  ])(
    "of another machine that was last touched %s by its clock is taken over when it stays so",
    async (_, shift) => {
      const file = ofAnother()
      const at = Date.now() / 1000 + shift
      fs.utimesSync(file, at, at)
      await Effect.runPromise(Effect.scoped(take))
      expect(told).toEqual([expect.stringMatching(/gave no sign of life for 400ms$/)])
    }
  )

  it("is watched without being taken: one of a dead process, or of another machine when it stays silent, is nobody's", async () => {
    const watching = () => watch(layoutAt(root), KEY, times.expiry)
    expect(await Effect.runPromise(watching())).toBe(false)
    const mine = Effect.scoped(Effect.zipRight(take, watching()))
    expect(await Effect.runPromise(mine)).toBe(true)

    const file = ofAnother()
    const elsewhere = watching()
    const look = Effect.delay(elsewhere, 20)
    const silence = Effect.gen(function* () {
      expect(yield* elsewhere).toBe(true)
      const beats = yield* nowAndThen(Effect.sync(() => fs.utimesSync(file, new Date(), new Date())))
      yield* Effect.repeat(look, { while: (held) => held, times: 60 })
      expect(yield* elsewhere).toBe(true)
      yield* Fiber.interrupt(beats)
      yield* Effect.repeat(look, { until: (held) => !held })
    })
    await Effect.runPromise(Effect.scoped(silence))
    expect(holders()).toEqual([file.split("/").at(-1)])
    fs.rmSync(file)
    if (process.platform !== "linux") return
    ofDead()
    expect(await Effect.runPromise(watching())).toBe(false)
  })

  it("that was lost is told to who held it, and its end leaves the new one alone", async () => {
    await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          yield* take
          const [mine = ""] = holders()
          fs.renameSync(join(folder(), mine), join(folder(), `${uniqueName()}~elsewhere`))
          yield* Effect.repeat(Effect.sleep(10), { until: () => told.length > 0 })
        })
      )
    )
    expect(told).toEqual([
      expect.stringMatching(new RegExp(`^lost the lease of ${KEY} to process ${process.pid} on elsewhere`))
    ])
    expect(holders()).toEqual([expect.stringMatching(/~elsewhere$/)])
  })
})

describe("on a network that loses the answers to requests, what was done counts as done", () => {
  const real = { ...fsPromises }
  const failing = (code: string) => Object.assign(new Error(code), { code })
  /** The client asks again, and hears that it cannot be done (any more). */
  const lossy = () => {
    fsPromises.link = async (...args) => {
      await real.link(...args)
      throw failing("EEXIST")
    }
    fsPromises.rename = async (...args) => {
      await real.rename(...args)
      throw failing("ENOENT")
    }
    fsPromises.rmdir = async (...args) => {
      await real.rmdir(...args)
      throw failing("ENOENT")
    }
    syncBuiltinESMExports()
  }
  afterEach(() => {
    Object.assign(fsPromises, real)
    syncBuiltinESMExports()
  })

  it("by leases", async () => {
    lossy()
    let held = 0
    const once = Effect.scoped(Effect.tap(take, () => (held += holders().length)))
    await Effect.runPromise(Effect.zipRight(once, once))
    expect([held, fs.readdirSync(join(root, "leases")), told]).toEqual([2, [], []])
  })

  it.runIf(process.platform === "linux")("by takeovers", async () => {
    ofDead()
    lossy()
    await Effect.runPromise(Effect.scoped(take))
    expect(told.length).toBe(1)
    expect(fs.readdirSync(join(root, "leases"))).toEqual([])
  })

  it("by blobs and actions", async () => {
    lossy()
    const Note = document("Note/1", Schema.String)
    const manifest: Manifest = {
      format: 1,
      stage: "s",
      version: "1",
      code: "",
      params: {},
      inputs: {},
      outputs: {},
      environment: {}
    }
    const found = await Effect.runPromise(
      Effect.gen(function* () {
        const store = yield* Store
        const note = yield* store.putDocument(Note, "text")
        const rest = {
          manifest,
          run: "r",
          node: "n",
          startedAt: "2026-01-01T00:00:00.000Z",
          millis: 5000
        }
        const key = yield* keyOf(manifest)
        yield* store.putAction({ key, outputs: { note }, ...rest })
        return yield* store.getAction(key)
      }).pipe(Effect.provide(FileStore.layer({ root })))
    )
    expect(found).toMatchObject({ _tag: "Some", value: { node: "n" } })
    expect(fs.readdirSync(join(root, "tmp"))).toEqual([])
  })
})

describe("opening a store", () => {
  const open = () => Effect.runPromise(Effect.provide(Effect.asVoid(Store), FileStore.layer({ root })))
  const temporary = () => join(root, "tmp")
  const leave = (name: string) => {
    fs.mkdirSync(join(temporary(), name, "deep"), { recursive: true })
    fs.writeFileSync(join(temporary(), name, "deep/file"), "")
    return name
  }
  const changed = (change: (parts: Array<string>) => Array<string>) =>
    change(uniqueName().split("-")).join("-")
  const age = (path: string, days: number) => {
    const at = Date.now() / 1000 - days * 86_400
    for (const file of [path, join(path, "deep"), join(path, "deep/file")]) fs.utimesSync(file, at, at)
  }

  it("removes what dead processes left, and leaves what may still be used", async () => {
    const live = leave(uniqueName())
    const dead = leave(changed(([pid = "", , ...rest]) => [pid, "1", ...rest]))
    const elsewhere = () =>
      changed(([pid = "", start = "", , ...rest]) => [pid, start, "0123456789", ...rest])
    const [recent, old, busy] = [leave(elsewhere()), leave(elsewhere()), leave(elsewhere())]
    // An execution may take days; nothing of a live one goes for its age.
    for (const name of [live, old, busy]) age(join(temporary(), name), 30)
    fs.writeFileSync(join(temporary(), busy, "deep/file"), "more")
    await open()
    const left = fs.readdirSync(temporary())
    expect(left.toSorted()).toEqual([live, recent, busy].toSorted())
    expect(left).not.toContain(dead)
  })

  it.runIf(process.platform === "linux")(
    "removes leases of dead processes whose key has its result",
    async () => {
      const wanted = ofDead()
      await open()
      expect(holders()).toEqual([wanted.split("/").at(-1)])
      const action = layoutAt(root).action(KEY)
      fs.mkdirSync(join(action, ".."), { recursive: true })
      fs.writeFileSync(action, "{}")
      await open()
      expect(fs.readdirSync(join(root, "leases"))).toEqual([])
    }
  )

  it.runIf(process.platform === "linux")("removes what shows that a killed run is under way", async () => {
    const { underWay } = layoutAt(root)
    const [dead, live] = ["01A0000000000000000000000A", "01B0000000000000000000000B"]
    const place = (run: string, name: string) => {
      fs.mkdirSync(underWay.lease(run), { recursive: true })
      fs.writeFileSync(join(underWay.lease(run), `${name}~here`), "")
    }
    place(
      dead,
      changed(([pid = "", , ...rest]) => [pid, "1", ...rest])
    )
    place(live, uniqueName())
    await open()
    expect(fs.readdirSync(underWay.leases)).toEqual([live])
  })
})
