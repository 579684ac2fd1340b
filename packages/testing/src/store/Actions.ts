/**
 * Actions, leases, run logs, pins and removal.
 */
import { chmod, readFile, rm, writeFile } from "node:fs/promises"
import { Store } from "@tessera/store"
import { Chunk, Deferred, Effect, Exit, Fiber, Option, Scope, Stream } from "effect"
import { type Checks, ensure, refused, same, Violation } from "../Check.js"
import { rowsThrough } from "./Artifacts.js"
import { actionOf, keyOf, Note, type StoreFixture, type StoreService, Words, words } from "./Fixture.js"

/** A further handle on the store under test, as another process would have it. */
export type Another = Effect.Effect<StoreService, unknown, Scope.Scope>

const flip = (store: StoreService, digest: string) =>
  Effect.flatMap(store.blobPath(digest), (path) =>
    Effect.promise(async () => {
      const bytes = await readFile(path)
      const middle = Math.floor(bytes.length / 2)
      bytes[middle] = (bytes[middle] ?? 0) ^ 1
      await chmod(path, 0o644)
      await writeFile(path, bytes)
    })
  )

const take = (store: StoreService, digest: string) =>
  Effect.flatMap(store.blobPath(digest), (path) => Effect.promise(() => rm(path)))

/** Commits a table and a document under an action. */
const commit = (store: StoreService, name: string) =>
  Effect.gen(function* () {
    const a = yield* store.putTable(Words, words(["one", 1], [name, 2]))
    const b = yield* store.putDocument(Note, { text: name, n: 2 })
    const action = actionOf(name, { a, b })
    yield* store.putAction(action)
    return { a, b, action }
  })

const look = (store: StoreService, key: string) =>
  Effect.gen(function* () {
    const told: Array<string> = []
    const found = yield* store.getAction(key, (why) => Effect.sync(() => void told.push(why)))
    return { found, told }
  })

/** After harm to a blob: the action is absent and told, or whole because the store had another copy. */
const absentOrWhole = (
  store: StoreService,
  { a, action }: Effect.Effect.Success<ReturnType<typeof commit>>,
  what: string
) =>
  Effect.gen(function* () {
    const { found, told } = yield* look(store, action.key)
    if (Option.isNone(found)) {
      yield* ensure(told.length > 0, `${what}: the action is absent, but nobody was told why`)
    } else {
      yield* same(
        yield* rowsThrough(store, Words, a),
        [
          { word: "one", n: 1 },
          { word: action.node, n: 2 }
        ],
        `${what}: an action was served, so its table must be whole`
      )
    }
    yield* commit(store, action.node)
    yield* same(
      (yield* look(store, action.key)).found,
      Option.some(action),
      `${what}: after it was committed again`
    )
  })

/** Waits for what must come. */
const within =
  ({ patience = "20 seconds" }: StoreFixture, what: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.timeoutFail(effect, { duration: patience, onTimeout: () => new Violation({ detail: what }) })

export const actionChecks = (fixture: StoreFixture, another: Another): Checks<Store | Scope.Scope> => ({
  "finds an action again, with all it says, from another handle too": Effect.gen(function* () {
    const store = yield* Store
    yield* same((yield* look(store, keyOf("nothing"))).found, Option.none(), "an action that nobody put")
    const { action } = yield* commit(store, "two")
    yield* same(yield* look(store, action.key), { found: Option.some(action), told: [] }, "an action")
    const other = fixture.shared === false ? store : yield* another
    yield* same(
      yield* look(other, action.key),
      { found: Option.some(action), told: [] },
      "an action, by another handle"
    )
    const accepted = { ...action, accepted: { by: "b", why: "w", at: "2026-01-01", from: keyOf("from") } }
    yield* store.putAction(accepted)
    yield* same(
      (yield* look(store, action.key)).found,
      Option.some(accepted),
      "an action put again replaces it"
    )
  }),

  "lists actions, newest first": Effect.gen(function* () {
    const store = yield* Store
    const { b } = yield* commit(store, "two")
    yield* store.putAction(actionOf("older", { b }, "2025-01-01T00:00:00.000Z"))
    yield* store.putAction(actionOf("newer", { b }, "2027-01-01T00:00:00.000Z"))
    const nodes = Chunk.toReadonlyArray(yield* Stream.runCollect(store.actions)).map(({ node }) => node)
    yield* same(nodes, ["newer", "two", "older"], "actions")
  }),

  "treats an action whose blob was never put as absent, and says why": Effect.gen(function* () {
    const store = yield* Store
    const { b } = yield* commit(store, "two")
    const action = actionOf("early", { b: { ...b, digest: keyOf("no such blob") } })
    const put = yield* Effect.exit(store.putAction(action))
    if (put._tag === "Failure") return yield* refused(put, ["StoreError"], "an action before its blobs")
    const { found, told } = yield* look(store, action.key)
    yield* same(found, Option.none(), "an action without its blob")
    yield* ensure(told.length > 0, "an action without its blob is absent, but nobody was told why")
  }).pipe(Effect.asVoid),

  "never serves an action with a damaged blob: it is absent and told, and can be committed again": Effect.gen(
    function* () {
      const store = yield* Store
      const committed = yield* commit(store, "two")
      yield* (fixture.damage ?? flip)(store, committed.a.digest)
      yield* absentOrWhole(fixture.shared === false ? store : yield* another, committed, "a flipped bit")
    }
  ),

  "never serves an action with a missing blob: it is absent and told, and can be committed again": Effect.gen(
    function* () {
      const store = yield* Store
      const committed = yield* commit(store, "two")
      yield* (fixture.lose ?? take)(store, committed.a.digest)
      yield* absentOrWhole(fixture.shared === false ? store : yield* another, committed, "a missing blob")
    }
  ),

  "lets one holder at a time have the lease of a key, whichever handle asks": Effect.gen(function* () {
    const store = yield* Store
    const other = fixture.shared === false ? store : yield* another
    let holders = 0
    let most = 0
    const hold = (handle: StoreService) =>
      Effect.scoped(
        Effect.gen(function* () {
          yield* handle.lease(keyOf("contended"))
          holders++
          most = Math.max(most, holders)
          // Long enough for another to come in, if it could.
          yield* Effect.sleep("5 millis")
          holders--
        })
      )
    yield* Effect.forEach([store, other, store, other, store, other], hold, { concurrency: "unbounded" })
    yield* same(most, 1, "holders of one lease at once")
  }),

  "leases other keys meanwhile, and gives a lease back when its holder ends or is interrupted": Effect.gen(
    function* () {
      const store = yield* Store
      const other = fixture.shared === false ? store : yield* another
      const held = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        Effect.scoped(
          Effect.zipRight(
            store.lease(keyOf("held")),
            Effect.zipRight(Deferred.succeed(held, undefined), Effect.never)
          )
        )
      )
      yield* Deferred.await(held)
      const waits = (key: string, what: string) => Effect.scoped(other.lease(key)).pipe(within(fixture, what))
      yield* waits(keyOf("free"), "the lease of another key waited for one that is held")
      yield* Fiber.interrupt(fiber)
      yield* waits(keyOf("held"), "a lease was kept by a holder that was interrupted")
    }
  ),

  "stops waiting for a lease when interrupted, and leaves no claim": Effect.gen(function* () {
    const store = yield* Store
    const other = fixture.shared === false ? store : yield* another
    const key = keyOf("waited")
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* store.lease(key)
        const waiting = yield* Effect.fork(Effect.scoped(other.lease(key)))
        yield* Effect.sleep("10 millis")
        yield* Fiber.interrupt(waiting)
      })
    )
    yield* Effect.scoped(other.lease(key)).pipe(
      within(fixture, "nobody holds the lease, but it cannot be had")
    )
  }),

  "keeps the log of a run in order, and lists runs newest first": Effect.gen(function* () {
    const store = yield* Store
    const [older, newer] = ["01A0000000000000000000000A", "01B0000000000000000000000B"]
    const wanted = Array.from({ length: 20 }, (_, i) => ({ i, text: "line\nbreak" }))
    yield* Effect.forEach(wanted, (event) => store.appendEvent(older, event), { discard: true })
    yield* store.appendEvent(newer, { i: 0 })
    yield* same(yield* store.runs, [newer, older], "runs")
    const events = yield* Stream.runCollect(store.events(older))
    yield* same(Chunk.toReadonlyArray(events), wanted, "events")
    yield* refused(
      Stream.runDrain(store.events("no-such-run")),
      ["StoreError"],
      "the log of a run that is not there"
    )
  }),

  "lets a follower hear what is there and what comes, to the end of who attends the run": Effect.gen(
    function* () {
      const store = yield* Store
      const other = fixture.shared === false ? store : yield* another
      const run = "01A0000000000000000000000A"
      const attending = yield* Scope.make()
      yield* Scope.extend(store.attend(run), attending)
      yield* same(yield* other.maintenance.underWay, [run], "runs under way")
      yield* store.appendEvent(run, { i: 0 })
      // Written to the log before anyone follows.
      yield* store.runs
      const first = yield* Deferred.make<void>()
      const heard = yield* Effect.fork(
        other.follow(run).pipe(
          Stream.tap(() => Deferred.succeed(first, undefined)),
          Stream.runCollect
        )
      )
      yield* Deferred.await(first)
      yield* store.appendEvent(run, { i: 1 })
      yield* store.appendEvent(run, { i: 2 })
      // What was appended is heard however soon its writer goes.
      yield* Scope.close(attending, Exit.void)
      const events = Chunk.toReadonlyArray(
        yield* Fiber.join(heard).pipe(within(fixture, "a follower did not hear the end of a run"))
      )
      yield* same(yield* other.maintenance.underWay, [], "runs under way after the end")
      yield* same(events, [{ i: 0 }, { i: 1 }, { i: 2 }], "events heard")
    }
  ),

  "pins artifacts by name, replaces and removes pins": Effect.gen(function* () {
    const store = yield* Store
    const { a, b } = yield* commit(store, "two")
    const { maintenance } = store
    yield* maintenance.pin({ name: "best", artifact: a, at: "2026-01-01" })
    yield* maintenance.pin({ name: "best", artifact: b, at: "2026-01-02" })
    yield* same(yield* maintenance.pins, [{ name: "best", artifact: b, at: "2026-01-02" }], "pins")
    yield* same(yield* maintenance.unpin("best"), true, "whether there was a pin")
    yield* same(yield* maintenance.unpin("best"), false, "whether there was still one")
    yield* same(yield* maintenance.pins, [], "pins after removal")
  }),

  "lists blobs with their sizes, and removes what it is told to and nothing else": Effect.gen(function* () {
    const store = yield* Store
    const { a, b, action } = yield* commit(store, "two")
    const kept = yield* commit(store, "kept")
    const blobs = yield* store.maintenance.blobs
    for (const { digest, size } of [a, b]) {
      yield* same(blobs.find((blob) => blob.digest === digest)?.size, size, `size of ${digest}`)
      yield* store.maintenance.verify(digest)
    }
    yield* store.appendEvent("01A0000000000000000000000A", { i: 0 })
    const gone = blobs.filter(({ digest }) => digest === a.digest)
    yield* store.maintenance.remove({ runs: [], actions: [action.key], blobs: [] })
    yield* same((yield* look(store, action.key)).found, Option.none(), "a removed action")
    yield* same(yield* store.maintenance.blobs, blobs, "blobs after an action was removed")
    yield* store.maintenance.remove({ runs: [], actions: [], blobs: gone })
    yield* ensure(
      (yield* store.maintenance.blobs).every(({ digest }) => digest !== a.digest),
      "a removed blob is still listed"
    )
    yield* same(
      (yield* look(store, kept.action.key)).found,
      Option.some(kept.action),
      "an action that was to stay"
    )
    yield* same(yield* store.runs, ["01A0000000000000000000000A"], "runs")
    yield* store.maintenance.remove({ runs: ["01A0000000000000000000000A"], actions: [], blobs: [] })
    yield* same(yield* store.runs, [], "runs after removal")
  }),

  "tells a damaged blob when it is verified": Effect.gen(function* () {
    const store = yield* Store
    const { b } = yield* commit(store, "two")
    yield* (fixture.damage ?? flip)(store, b.digest)
    const handle = fixture.shared === false ? store : yield* another
    const error = yield* refused(handle.maintenance.verify(b.digest), ["StoreError"], "a damaged blob")
    yield* same(error.reason, "Corrupt", "reason")
  }),

  "opens and closes its warnings": Effect.gen(function* () {
    const store = yield* Store
    yield* Effect.scoped(Effect.flatMap(store.warnings, (told) => Effect.forkScoped(Stream.runDrain(told))))
  })
})
