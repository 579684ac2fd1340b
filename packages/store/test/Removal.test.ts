/** Removing garbage while others use the store. */
import * as fs from "node:fs"
import { join } from "node:path"
import { Effect, Option } from "effect"
import { beforeEach, expect, it } from "vitest"
import type { Artifact } from "../src/index.js"
import {
  action,
  actionFile,
  age,
  at,
  blobFile,
  filesIn,
  Folder,
  keyOf,
  look,
  storeAndSource,
  type StoreService,
  Words,
  words
} from "./Folders.js"

let root = ""
let source = ""
beforeEach(() => void ({ root, source } = storeAndSource()))
const use = <A, E>(f: (store: StoreService) => Effect.Effect<A, E>) => at(root)(f)

const commit = (store: StoreService, stage = "s") =>
  Effect.gen(function* () {
    const outputs = {
      words: yield* store.putTable(Words, words([stage, 1])),
      files: yield* store.putFolder(Folder.id, source)
    }
    yield* store.putAction(action(outputs, stage))
    return outputs
  })

const all = (store: StoreService) =>
  Effect.gen(function* () {
    const actions = yield* store.maintenance.actions
    return { runs: [], actions: actions.map(({ key }) => key), blobs: yield* store.maintenance.blobs }
  })

const everyFile = () => [...filesIn(join(root, "actions")), ...filesIn(join(root, "blobs"))]
const old = () => everyFile().forEach((file) => age(file, 48))
const yesterday = () => Date.now() - 24 * 3_600_000
const isYoung = (file: string) => fs.statSync(file).mtimeMs > yesterday()

it("a result that somebody found after it was judged stays, with all its blobs", async () => {
  await use((store) => commit(store))
  old()
  const removed = await use((store) =>
    Effect.gen(function* () {
      const judged = yield* all(store)
      expect(judged.actions.length).toBe(1)
      yield* Effect.promise(() => use((other) => look(other)))
      return yield* store.maintenance.remove(judged, yesterday())
    })
  )
  expect(removed).toEqual({ runs: [], actions: [], blobs: [] })
  expect(Option.isSome((await use((store) => look(store))).found)).toBe(true)
})

it("a blob that was put again after it was judged stays", async () => {
  const { words: table } = await use((store) => commit(store))
  old()
  await use((store) =>
    Effect.gen(function* () {
      const judged = yield* all(store)
      yield* store.putTable(Words, words(["s", 1]))
      yield* store.maintenance.remove(judged, yesterday())
    })
  )
  expect(filesIn(join(root, "blobs"))).toEqual([blobFile(root, table.digest)])
  expect(filesIn(join(root, "actions"))).toEqual([])
})

it("an action that stays keeps blobs that nobody touched", async () => {
  await use((store) => commit(store))
  old()
  const file = actionFile(root, keyOf("s"))
  fs.utimesSync(file, new Date(), new Date())
  await use((store) => Effect.flatMap(all(store), (judged) => store.maintenance.remove(judged, yesterday())))
  expect(Option.isSome((await use((store) => look(store))).found)).toBe(true)
})

it("whoever finds a result while it is removed finds it whole afterwards, or not at all", async () => {
  const rounds = Array.from({ length: 60 }, (_, i) => `s${i}`)
  const outputs = new Map<string, { readonly words: Artifact; readonly files: Artifact }>()
  for (const stage of rounds) outputs.set(stage, await use((store) => commit(store, stage)))
  old()
  const outcomes = await use((store) =>
    Effect.gen(function* () {
      const judged = yield* all(store)
      const find = Effect.forEach(
        rounds,
        (stage) => Effect.map(look(store, keyOf(stage)), ({ found }) => ({ stage, found })),
        { concurrency: 4 }
      )
      const [found] = yield* Effect.all([find, store.maintenance.remove(judged, yesterday())], {
        concurrency: "unbounded"
      })
      return found
    })
  )
  for (const { stage, found } of outcomes) {
    const later = await use((store) => look(store, keyOf(stage)))
    // What was found before stays; what was not is gone, or was judged in use.
    if (Option.isSome(found)) expect([stage, later.found]).toEqual([stage, found])
    else expect([stage, later.told.length + Number(Option.isNone(later.found))]).not.toEqual([stage, 0])
  }
})

it("folders made of a tree go with it", async () => {
  const { files } = await use((store) => commit(store))
  await use((store) => Effect.scoped(store.open(Folder, files)))
  expect(filesIn(join(root, "trees")).length).toBe(2)
  await use((store) => Effect.flatMap(all(store), (judged) => store.maintenance.remove(judged)))
  expect([...everyFile(), ...filesIn(join(root, "trees")), ...filesIn(join(root, "tmp"))]).toEqual([])
})

it("a use is noted on the action and every blob, but not again within minutes", async () => {
  await use((store) => commit(store))
  old()
  await use((store) => look(store))
  expect(everyFile().every(isYoung)).toBe(true)
  everyFile().forEach((file) => age(file, 0.1))
  const before = everyFile().map((file) => fs.statSync(file).mtimeMs)
  await use((store) => look(store))
  expect(everyFile().map((file) => fs.statSync(file).mtimeMs)).toEqual(before)
})

it("a check is no use", async () => {
  await use((store) => commit(store))
  old()
  await use((store) => store.maintenance.check(keyOf("s")))
  expect(everyFile().some(isYoung)).toBe(false)
})
