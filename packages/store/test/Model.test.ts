/**
 * The store against a model of it: random interleavings of what two processes, crashes, failing disks and garbage
 * collection do. The model says exactly what `getAction` must answer at each moment. A failure prints seed, path and
 * replayPath: the same again with TESSERA_MODEL_SEED, TESSERA_MODEL_PATH and TESSERA_MODEL_REPLAY.
 */
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Either, Exit, ManagedRuntime, Option, Scope, Stream } from "effect"
import * as fc from "fast-check"
import { expect, it } from "vitest"
import { type Artifact, FileStore, Store } from "../src/index.js"
import {
  action,
  actionFile,
  age,
  blobFile,
  filesIn,
  flip,
  Folder,
  keyOf,
  look,
  Note,
  rewrite,
  type StoreService,
  Words,
  words
} from "./Folders.js"

const DAY = 24 * 3_600_000
/** Contents and keys are few, so that commands meet. */
const contents = fc.integer({ min: 0, max: 3 })
const stages = fc.constantFrom("a", "b", "c")
const handles = fc.constantFrom(0, 1)

/** What must be true of the store. */
interface Model {
  /** Digest → what harm came to its bytes, if any; absent where they are not there. */
  readonly blobs: Map<string, "whole" | "damaged">
  /** Key's stage → the outputs it was committed with, or that its file is damaged. */
  readonly actions: Map<string, Readonly<Record<string, Artifact>> | "damaged">
  /** Tree digest → its files' digests. */
  readonly trees: Map<string, ReadonlyArray<string>>
  readonly pins: Map<string, Artifact>
  /** Digests whose bytes a handle has read: it need not see later damage. */
  readonly leased: Map<string, number>
  readonly source: { content: number; digests: Map<number, string> }
}

interface Handle {
  readonly store: StoreService
  readonly close: () => Promise<void>
}

/** The store, as two processes see it. */
class Real {
  readonly handles = new Map<number, Handle>()
  readonly leases = new Map<string, Scope.CloseableScope>()
  constructor(readonly root: string) {}

  get store(): string {
    return join(this.root, "s")
  }
  get source(): string {
    return join(this.root, "source")
  }
  async open(): Promise<Handle> {
    const runtime = ManagedRuntime.make(FileStore.layer({ root: this.store }))
    const store = await runtime.runPromise(Store)
    return { store, close: () => runtime.dispose() }
  }
  async handle(n: number): Promise<StoreService> {
    const known = this.handles.get(n) ?? (await this.open())
    this.handles.set(n, known)
    return known.store
  }
  /** A new process: what the old one had in memory is gone. */
  async restart(n: number): Promise<void> {
    await this.handles.get(n)?.close()
    this.handles.delete(n)
  }
}

type Command = fc.AsyncCommand<Model, Real>

const parts = (model: Model, artifact: Artifact): ReadonlyArray<string> => [
  artifact.digest,
  ...(artifact.kind === "tree" ? (model.trees.get(artifact.digest) ?? []) : [])
]

const named = (model: Model, outputs: Readonly<Record<string, Artifact>>) =>
  Object.values(outputs).flatMap((artifact) => parts(model, artifact))

/** Putting makes whole whatever was there. */
const putParts = (model: Model, artifact: Artifact) => {
  for (const digest of parts(model, artifact)) model.blobs.set(digest, "whole")
}

/** Asking moves what is damaged aside. */
const askParts = (model: Model, outputs: Readonly<Record<string, Artifact>>): boolean => {
  let whole = true
  for (const artifact of Object.values(outputs)) {
    const own = model.blobs.get(artifact.digest)
    if (own === "damaged") model.blobs.delete(artifact.digest)
    if (own !== "whole") whole = false
    if (own !== "whole" || artifact.kind !== "tree") continue
    for (const file of model.trees.get(artifact.digest) ?? []) {
      const state = model.blobs.get(file)
      if (state === "damaged") model.blobs.delete(file)
      if (state !== "whole") whole = false
    }
  }
  return whole
}

const make = (real: Real, store: StoreService, kind: Artifact["kind"], content: number) =>
  Effect.gen(function* () {
    switch (kind) {
      case "table":
        return yield* store.putTable(Words, words([`word ${content}`, content]))
      case "document":
        return yield* store.putDocument(Note, { text: "note", n: content })
      case "tree": {
        const folder = join(real.root, "folder")
        fs.mkdirSync(folder, { recursive: true })
        fs.writeFileSync(join(folder, "same.txt"), "same in every tree")
        fs.writeFileSync(join(folder, "data.txt"), `data ${content}`)
        return yield* store.putFolder(Folder.id, folder)
      }
    }
  })

const learn = (store: StoreService, model: Model, artifact: Artifact) =>
  artifact.kind !== "tree"
    ? Effect.void
    : Effect.map(store.maintenance.treeFiles(artifact.digest), (files) => {
        model.trees.set(
          artifact.digest,
          files.map(({ digest }) => digest)
        )
      })

const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(effect)

const command = (
  text: string,
  check: (model: Model) => boolean,
  body: (model: Model, real: Real) => Promise<void>
): Command => ({
  check,
  run: body,
  toString: () => text
})
const always = () => true

const put = (handle: number, kind: Artifact["kind"], content: number) =>
  command(`put ${kind} ${content} by ${handle}`, always, async (model, real) => {
    const store = await real.handle(handle)
    const artifact = await run(make(real, store, kind, content))
    await run(learn(store, model, artifact))
    putParts(model, artifact)
  })

const commit = (handle: number, stage: string, kind: Artifact["kind"], content: number) =>
  command(`commit ${stage} with ${kind} ${content} by ${handle}`, always, async (model, real) => {
    const store = await real.handle(handle)
    const artifact = await run(make(real, store, kind, content))
    await run(learn(store, model, artifact))
    await run(store.putAction(action({ output: artifact }, stage)))
    putParts(model, artifact)
    model.actions.set(stage, { output: artifact })
  })

const get = (handle: number, stage: string) =>
  command(`get ${stage} by ${handle}`, always, async (model, real) => {
    const { found, told } = await run(look(await real.handle(handle), keyOf(stage)))
    const expected = model.actions.get(stage)
    if (expected === undefined) return expect([Option.isNone(found), told]).toEqual([true, []])
    if (expected !== "damaged" && askParts(model, expected)) {
      expect(Option.getOrUndefined(found)?.outputs).toEqual(expected)
    } else expect([Option.isNone(found), told.length]).toEqual([true, 1])
  })

/** Every part of a whole result is what was put. */
const read = (handle: number, stage: string) =>
  command(
    `read ${stage} by ${handle}`,
    (model) => model.actions.get(stage) !== undefined,
    async (model, real) => {
      const store = await real.handle(handle)
      const { found } = await run(look(store, keyOf(stage)))
      const outputs = model.actions.get(stage)
      if (outputs === undefined || outputs === "damaged" || !askParts(model, outputs)) return
      expect(Option.isSome(found)).toBe(true)
      const artifact = outputs["output"]
      if (artifact?.kind === "tree") {
        const { path } = await run(Effect.scoped(store.open(Folder, artifact)))
        expect(fs.readFileSync(join(path, "same.txt"), "utf8")).toBe("same in every tree")
      } else if (artifact?.kind === "table") {
        const rows = Effect.flatMap(store.open(Words, artifact), (table) => Stream.runCollect(table.rows))
        expect([...(await run(Effect.scoped(rows)))].length).toBe(artifact.rows)
      }
    }
  )

const splitAndConcat = (handle: number, content: number) =>
  command(`split and put together table ${content} by ${handle}`, always, async (model, real) => {
    const store = await real.handle(handle)
    const whole = await run(store.putTable(Words, words(["x", content], ["y", content])))
    const shards = await run(store.split(whole, "word"))
    const again = await run(
      store.concat(
        Words,
        shards.map(({ artifact }) => artifact)
      )
    )
    expect(again).toEqual(whole)
    for (const artifact of [whole, ...shards.map(({ artifact }) => artifact)]) putParts(model, artifact)
  })

/** Blobs of the store, damaged ones too, in an order that replays. */
const present = (model: Model) => [...model.blobs.keys()].sort()

const harm = (n: number, how: "flip" | "cut" | "remove") =>
  command(
    `${how} blob ${n}`,
    (model) => model.blobs.size > 0,
    async (model, real) => {
      const digests = present(model)
      const digest = digests[n % digests.length] ?? ""
      // Who read it before need not look again: the processes are new.
      await real.restart(0)
      await real.restart(1)
      const file = blobFile(real.store, digest)
      if (how === "remove") {
        fs.rmSync(file)
        model.blobs.delete(digest)
      } else if (model.blobs.get(digest) === "whole") {
        rewrite(file, how === "flip" ? flip : (bytes) => bytes.subarray(0, bytes.length - 1))
        model.blobs.set(digest, "damaged")
      }
    }
  )

const harmAction = (stage: string, how: "cut" | "empty" | "swap") =>
  command(
    `${how} action ${stage}`,
    (model) => model.actions.has(stage),
    async (model, real) => {
      const file = actionFile(real.store, keyOf(stage))
      const other = [...model.actions].find(([name, outputs]) => name !== stage && outputs !== "damaged")
      if (how === "swap" && other !== undefined)
        rewrite(file, () => fs.readFileSync(actionFile(real.store, keyOf(other[0]))))
      else rewrite(file, (bytes) => bytes.subarray(0, how === "cut" ? bytes.length >> 1 : 0))
      model.actions.set(stage, "damaged")
    }
  )

/** A process dies: leftovers of what it was writing, the lease of a process that is gone, a torn line of a log. */
const crash = (handle: number, stage: string) =>
  command(`crash ${handle} while computing ${stage}`, always, async (_, real) => {
    await real.handle(handle)
    fs.writeFileSync(join(real.store, "tmp", `999999-${handle}${Date.now()}`), "half of a blob")
    fs.mkdirSync(join(real.store, "runs"), { recursive: true })
    fs.appendFileSync(join(real.store, "runs", `${stage}.jsonl`), '{"torn":')
    real.handles.delete(handle)
  })

const restart = (handle: number) => command(`restart ${handle}`, always, (_, real) => real.restart(handle))

const lease = (handle: number, stage: string) =>
  command(
    `lease ${stage} by ${handle}`,
    (model) => !model.leased.has(stage),
    async (model, real) => {
      const store = await real.handle(handle)
      const scope = await run(Scope.make())
      await run(Scope.extend(store.lease(keyOf(stage)), scope))
      real.leases.set(stage, scope)
      model.leased.set(stage, handle)
      const second = Effect.scoped(Effect.timeoutOption(store.lease(keyOf(stage)), "15 millis"))
      expect(Option.isNone(await run(second))).toBe(true)
    }
  )

const release = (stage: string) =>
  command(
    `release ${stage}`,
    (model) => model.leased.has(stage),
    async (model, real) => {
      const scope = real.leases.get(stage)
      if (scope !== undefined) await run(Scope.close(scope, Exit.void))
      real.leases.delete(stage)
      model.leased.delete(stage)
      // Free again, for the other one too.
      const other = await real.handle(1)
      await run(Effect.scoped(other.lease(keyOf(stage))))
    }
  )

const pin = (stage: string) =>
  command(
    `pin ${stage}`,
    (model) => model.actions.has(stage),
    async (model, real) => {
      const outputs = model.actions.get(stage)
      const artifact = outputs === "damaged" ? undefined : outputs?.["output"]
      if (artifact === undefined) return
      const { maintenance } = await real.handle(0)
      await run(maintenance.pin({ name: stage, artifact, at: "2026-01-01T00:00:00.000Z" }))
      model.pins.set(stage, artifact)
    }
  )

/** Collects all that is neither in scope nor pinned, once with everything a day too young, once with nothing young. */
const collect = (kept: ReadonlyArray<string>, grace: boolean) =>
  command(
    `collect all but ${kept.join(" ") || "nothing"}${grace ? " and what is young" : ""}`,
    always,
    async (model, real) => {
      const { maintenance } = await real.handle(1)
      const pins = await run(maintenance.pins)
      expect(new Set(pins.map(({ name }) => name))).toEqual(new Set(model.pins.keys()))
      const stays = new Set(pins.flatMap(({ artifact }) => parts(model, artifact)))
      for (const stage of kept) {
        const outputs = model.actions.get(stage)
        if (outputs !== undefined && outputs !== "damaged")
          for (const digest of named(model, outputs)) stays.add(digest)
      }
      const keys = new Set(kept.map(keyOf))
      const garbage = {
        runs: [],
        actions: (await run(maintenance.actions)).flatMap(({ key }) => (keys.has(key) ? [] : [key])),
        blobs: (await run(maintenance.blobs)).filter(({ digest }) => !stays.has(digest))
      }
      for (const part of ["actions", "blobs"])
        for (const file of safeFiles(join(real.store, part))) age(file, grace ? 0 : 48)
      const gone = await run(maintenance.remove(garbage, Date.now() - DAY))
      if (grace) return expect(gone).toEqual({ runs: [], actions: [], blobs: [] })
      expect(gone).toEqual(garbage)
      for (const stage of model.actions.keys()) if (!kept.includes(stage)) model.actions.delete(stage)
      for (const { digest } of garbage.blobs) model.blobs.delete(digest)
    }
  )

const safeFiles = (path: string) => (fs.existsSync(path) ? filesIn(path) : [])

/** The store reads every blob again: it finds exactly those that are damaged. */
const verify = (handle: number) =>
  command(`verify by ${handle}`, always, async (model, real) => {
    const { maintenance } = await real.handle(handle)
    const blobs = await run(maintenance.blobs)
    expect(blobs.map(({ digest }) => digest).sort()).toEqual(present(model))
    for (const { digest } of blobs) {
      const checked = await run(Effect.either(maintenance.verify(digest)))
      expect([digest, Either.isRight(checked)]).toEqual([digest, model.blobs.get(digest) === "whole"])
      if (Either.isLeft(checked)) model.blobs.delete(digest)
    }
  })

/** A folder outside is edited and adopted: equal contents are equal digests, and an edit always shows. */
const adopt = (handle: number, content: number) =>
  command(`edit the source to ${content} and adopt it by ${handle}`, always, async (model, real) => {
    fs.mkdirSync(real.source, { recursive: true })
    fs.writeFileSync(join(real.source, "a.txt"), `source ${content}`)
    const store = await real.handle(handle)
    const { digest } = await run(store.adoptFolder(Folder.id, real.source))
    const known = model.source.digests.get(content)
    if (known === undefined) expect([...model.source.digests.values()]).not.toContain(digest)
    else expect(digest).toBe(known)
    model.source.digests.set(content, digest)
    model.blobs.set(digest, "whole")
  })

const kinds = fc.constantFrom<Artifact["kind"]>("table", "document", "tree")
const replayPath = process.env["TESSERA_MODEL_REPLAY"]
const commands = fc.commands(
  [
    fc.tuple(handles, kinds, contents).map((args) => put(...args)),
    fc.tuple(handles, stages, kinds, contents).map((args) => commit(...args)),
    fc.tuple(handles, stages, kinds, contents).map((args) => commit(...args)),
    fc.tuple(handles, stages).map((args) => get(...args)),
    fc.tuple(handles, stages).map((args) => get(...args)),
    fc.tuple(handles, stages).map((args) => read(...args)),
    fc.tuple(handles, contents).map((args) => splitAndConcat(...args)),
    fc.tuple(fc.nat(50), fc.constantFrom("flip", "cut", "remove")).map(([n, how]) => harm(n, how)),
    fc.tuple(stages, fc.constantFrom("cut", "empty", "swap")).map(([stage, how]) => harmAction(stage, how)),
    fc.tuple(handles, stages).map((args) => crash(...args)),
    handles.map(restart),
    fc.tuple(handles, stages).map((args) => lease(...args)),
    stages.map(release),
    stages.map(pin),
    fc.tuple(fc.subarray(["a", "b", "c"]), fc.boolean()).map((args) => collect(...args)),
    handles.map(verify),
    fc.tuple(handles, contents).map((args) => adopt(...args))
  ],
  { maxCommands: 40, size: "max", ...(replayPath === undefined ? {} : { replayPath }) }
)

it(
  "answers as its model does, whatever two processes, crashes, damage and collection do to it",
  { timeout: 300_000 },
  async () => {
    const seed = Number(process.env["TESSERA_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
    const path = process.env["TESSERA_MODEL_PATH"]
    const held = fc.assert(
      fc.asyncProperty(commands, async (list) => {
        const real = new Real(fs.mkdtempSync(join(tmpdir(), "model-")))
        const model: Model = {
          blobs: new Map(),
          actions: new Map(),
          trees: new Map(),
          pins: new Map(),
          leased: new Map(),
          source: { content: 0, digests: new Map() }
        }
        try {
          await fc.asyncModelRun(() => ({ model, real }), list)
        } finally {
          for (const scope of real.leases.values()) await run(Scope.close(scope, Exit.void))
          await real.restart(0)
          await real.restart(1)
          fs.rmSync(real.root, { recursive: true, force: true })
        }
      }),
      {
        seed,
        numRuns: 40,
        interruptAfterTimeLimit: 15_000,
        markInterruptAsFailure: false,
        ...(path === undefined ? {} : { path })
      }
    )
    await expect(held).resolves.toBeUndefined()
  }
)
