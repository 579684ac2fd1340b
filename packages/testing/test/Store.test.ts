/** The store's suite finds what a bad store does wrong, and nothing in a good one. */
import { Artifact, MemoryStore, Store } from "@tessera/store"
import { Effect, Layer, Option, Stream } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { storeChecks } from "../src/index.js"
import { violations } from "./Outcomes.js"

const folder = mkdtempSync(join(tmpdir(), "testing-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Service = typeof Store.Service

/** A memory store with something changed for the worse. */
const worse = (change: (good: Service) => Partial<Service>) =>
  storeChecks({
    shared: false,
    patience: "300 millis",
    fresh: Effect.succeed(
      Layer.effect(
        Store,
        Effect.map(Store, (good) => Store.of({ ...good, ...change(good) }))
      ).pipe(Layer.provide(MemoryStore.layer))
    )
  })

const salted = (artifact: Artifact): Artifact => ({ ...artifact, digest: `sha256:${"1".repeat(64)}` })

it("finds nothing wrong with a good store", async () => {
  expect(await violations(worse(() => ({})))).toEqual({})
})

it.each<readonly [string, RegExp, (good: Service) => Partial<Service>]>([
  [
    "counts tables instead of digesting them",
    /equal rows equal digests/,
    (good) => {
      let count = 0
      return {
        putTable: (table, content) =>
          Effect.map(good.putTable(table, content), (artifact) => ({
            ...artifact,
            digest: `sha256:${count++}`
          }))
      }
    }
  ],
  [
    "gives every document one digest",
    /equal documents equal digests/,
    (good) => ({ putDocument: (port, value) => Effect.map(good.putDocument(port, value), salted) })
  ],
  [
    "serves actions without looking at their blobs",
    /damaged blob/,
    (good) => ({
      getAction: (key) => Stream.runHead(Stream.filter(good.actions, (action) => action.key === key))
    })
  ],
  [
    "does not tell why an action is absent",
    /missing blob/,
    (good) => ({ getAction: (key) => good.getAction(key) })
  ],
  [
    "forgets what an action says",
    /finds an action again/,
    (good) => ({
      getAction: (key, told) =>
        Effect.map(
          good.getAction(key, told),
          Option.map((action) => ({ ...action, node: "" }))
        )
    })
  ],
  [
    "lists actions in any order",
    /newest first/,
    (good) => ({
      actions: Stream.unwrap(
        Effect.map(Stream.runCollect(good.actions), (all) => Stream.fromIterable([...all].reverse()))
      )
    })
  ],
  ["leases to everybody", /one holder at a time/, () => ({ lease: (key) => Effect.succeed({ key }) })],
  [
    "keeps one lease for all keys",
    /leases other keys meanwhile/,
    (good) => ({ lease: () => good.lease("sha256:0") })
  ],
  [
    "keeps leases for ever",
    /gives a lease back/,
    () => {
      const taken = new Set<string>()
      return {
        lease: (key) =>
          taken.has(key) ? Effect.never : Effect.sync(() => ({ key: [...taken.add(key)].at(-1) ?? key }))
      }
    }
  ],
  [
    "leaves scratch folders",
    /scratch/,
    () => ({
      scratch: Effect.promise(() => mkdtemp(join(folder, "left-")))
    })
  ],
  ["lends one scratch folder to all", /scratch/, () => ({ scratch: Effect.succeed(tmpdir()) })],
  [
    "accepts any document",
    /refuses rows and documents/,
    (good) => ({
      putDocument: (port, value) =>
        Effect.catchTag(good.putDocument(port, value), "ArtifactError", () =>
          Effect.succeed({ kind: "document", type: port.id, digest: "sha256:0", size: 0 } as const)
        )
    })
  ],
  [
    "dies where it should fail",
    /tagged error for an artifact that is not there/,
    (good) => ({
      blobPath: (digest) => Effect.orDie(good.blobPath(digest))
    })
  ],
  [
    "splits in the order of first sight",
    /splits a table/,
    (good) => ({
      split: (artifact, by) => Effect.map(good.split(artifact, by), (shards) => shards.toReversed())
    })
  ],
  [
    "drops a shard when it concatenates",
    /concatenates/,
    (good) => ({
      concat: (table, artifacts) => good.concat(table, artifacts.slice(1))
    })
  ],
  [
    "loses events",
    /log of a run/,
    (good) => ({
      appendEvent: (run, event) =>
        JSON.stringify(event).includes("7") ? Effect.void : good.appendEvent(run, event)
    })
  ],
  ["lets followers hear the past only", /follower/, (good) => ({ follow: (run) => good.events(run) })],
  [
    "lets followers wait for ever",
    /follower/,
    (good) => ({ follow: (run) => Stream.concat(good.follow(run), Stream.never) })
  ],
  [
    "lets go of a run before its log is written",
    /follower/,
    (good) => ({ attend: (run) => Effect.scoped(good.attend(run)) })
  ],
  [
    "adopts by name instead of content",
    /adopted folder/,
    (good) => ({
      adoptFolder: (type, folder) => Effect.map(good.adoptFolder(type, folder), salted)
    })
  ],
  [
    "keeps removed actions",
    /removes what it is told/,
    (good) => ({
      maintenance: {
        ...good.maintenance,
        remove: (garbage) => good.maintenance.remove({ ...garbage, actions: [] })
      }
    })
  ],
  [
    "never finds damage",
    /tells a damaged blob/,
    (good) => ({
      maintenance: { ...good.maintenance, verify: () => Effect.void }
    })
  ],
  [
    "forgets pins",
    /pins artifacts/,
    (good) => ({
      maintenance: { ...good.maintenance, pins: Effect.succeed([]) }
    })
  ]
])("finds a store that %s", async (_, title, change) => {
  expect(Object.keys(await violations(worse(change), title))).toHaveLength(1)
})
