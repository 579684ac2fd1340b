/**
 * Reads what `exportRun` wrote. All of it is checked before a store shows any of it.
 */
import { createReadStream } from "node:fs"
import { readFile } from "node:fs/promises"
import { pipeline } from "node:stream"
import { key as keyOf } from "@tessera/core"
import { Action, type Staged, Store, type StoreError, storeError, TreeManifest } from "@tessera/store"
import { Chunk, Effect, Either, Option, Schema, type Scope, Stream } from "effect"
import type { Header as TarHeader } from "tar-stream"
import { ArchiveError, Header, named } from "./Archive.js"
import { manifestOf } from "./Collect.js"

export interface Imported {
  readonly run: string
  readonly pipeline: string
  /** What the store did not have. */
  readonly added: {
    readonly log: boolean
    readonly actions: number
    readonly blobs: number
    readonly bytes: number
  }
  /** What is in the archive. */
  readonly actions: number
  readonly blobs: number
  /** Files of folders read in place that are not in it. */
  readonly leftOut: { readonly files: number; readonly bytes: number }
}

type Failure = ArchiveError | StoreError

interface Entry extends AsyncIterable<unknown> {
  readonly header: TarHeader
}

/** What was read so far. Blobs are on the store's disk, where nobody sees them. */
interface Contents {
  header?: Header
  readonly blobs: Map<string, Staged>
  readonly actions: Map<string, Action>
  log?: { readonly run: string; readonly lines: ReadonlyArray<string> }
}

const wrong = (path: string) => (reason: ArchiveError["reason"], detail: string, cause?: unknown) =>
  new ArchiveError({ reason, path, detail, cause })

const decodeHeader = Schema.decodeUnknownEither(Schema.parseJson(Header))
const decodeAction = Schema.decodeUnknownEither(Schema.parseJson(Action))
const decodeLine = Schema.decodeUnknownOption(Schema.parseJson())
const decodeTree = Schema.decodeUnknownEither(Schema.parseJson(TreeManifest))

/** The entries of a tar, one after the other: each has to be read to its end before the next one comes. */
const entries = (path: string, seen: () => boolean): Stream.Stream<Entry, Failure> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const { extract } = yield* Effect.promise(() => import("tar-stream"))
      const unpack = extract()
      let unread: Error | undefined
      const file = createReadStream(path, { highWaterMark: 1 << 20 })
      file.on("error", (cause) => void (unread = cause))
      pipeline(file, unpack, () => {})
      yield* Effect.addFinalizer(() => Effect.sync(() => void file.destroy()))
      return Stream.fromAsyncIterable(unpack, (cause) =>
        unread !== undefined
          ? storeError(path, unread)
          : seen()
            ? wrong(path)("Truncated", "ends too early, or is damaged; copy it again", cause)
            : wrong(path)("NotAnArchive", "is not a tar that tessera export made", cause)
      )
    })
  )

const content = (path: string, body: Entry): Stream.Stream<Uint8Array, ArchiveError> =>
  Stream.fromAsyncIterable(body as AsyncIterable<Uint8Array>, (cause) =>
    wrong(path)("Truncated", "ends too early; copy it again", cause)
  )

const text = (path: string, body: Entry): Effect.Effect<string, ArchiveError> =>
  Effect.map(Stream.runCollect(content(path, body)), (parts) =>
    Buffer.concat(Chunk.toReadonlyArray(parts)).toString("utf8")
  )

const readEntry = (
  path: string,
  into: Contents,
  entry: Entry
): Effect.Effect<void, Failure, Store | Scope.Scope> =>
  Effect.gen(function* () {
    const fail = wrong(path)
    const { name, type } = entry.header
    const what = named(name)
    if (what?.kind !== "header" && into.header === undefined)
      return yield* fail("NotAnArchive", "is a tar, but none that tessera export made")
    if (what === undefined || type !== "file")
      return yield* fail(
        "Unsafe",
        `holds ${JSON.stringify(name)}, which no export writes; nothing of it was used`
      )
    const damaged = (why: string) => fail("Damaged", `${name} ${why}; export or copy it again`)
    switch (what.kind) {
      case "header": {
        const header = decodeHeader(yield* text(path, entry))
        if (Either.isLeft(header))
          return yield* fail("NotAnArchive", "was made by another version of tessera export, or is damaged")
        into.header = header.right
        return
      }
      case "blob": {
        const { maintenance } = yield* Store
        const staged = yield* maintenance.stage(content(path, entry))
        if (staged.digest !== what.id) return yield* damaged(`has other bytes than its digest says`)
        into.blobs.set(staged.digest, staged)
        return
      }
      case "action": {
        const action = Option.getOrUndefined(Either.getRight(decodeAction(yield* text(path, entry))))
        const manifest = action === undefined ? undefined : manifestOf(action)
        const key =
          manifest === undefined ? undefined : Option.getOrUndefined(Either.getRight(keyOf(manifest)))
        if (action === undefined || action.key !== what.id || key !== what.id)
          return yield* damaged("is not the action of that key")
        into.actions.set(what.id, action)
        return
      }
      case "log": {
        const lines = (yield* text(path, entry)).split("\n").filter((line) => line !== "")
        const whole = lines.every((line) => Option.isSome(decodeLine(line)))
        if (!whole) return yield* damaged("holds what is no event")
        if (what.id !== into.header?.run)
          return yield* damaged(`is the log of another run than ${into.header?.run}`)
        into.log = { run: what.id, lines }
      }
    }
  })

/** Fails where the archive ends too early, or an action names a blob that neither it nor the store has. */
const check = (path: string, { header, blobs, actions, log }: Contents) =>
  Effect.gen(function* () {
    const fail = wrong(path)
    if (header === undefined) return yield* fail("NotAnArchive", "is not a tar that tessera export made")
    if (log === undefined || blobs.size !== header.blobs || actions.size !== header.actions) {
      return yield* fail(
        "Truncated",
        `has ${blobs.size} of ${header.blobs} blobs and ${actions.size} of ${header.actions} actions; copy it again`
      )
    }
    const { maintenance } = yield* Store
    const has = (digest: string) =>
      blobs.has(digest) ? Effect.succeed(true) : Effect.isSuccess(maintenance.verify(digest))
    const need = (digest: string, node: string) =>
      Effect.flatMap(has(digest), (there) =>
        there ? Effect.void : fail("Damaged", `lacks blob ${digest} of ${node}; export it again`)
      )
    for (const { node, outputs } of actions.values()) {
      for (const { kind, digest } of Object.values(outputs)) {
        yield* need(digest, node)
        const staged = blobs.get(digest)
        if (kind !== "tree" || staged === undefined) continue
        const tree = decodeTree(
          yield* Effect.tryPromise({
            try: () => readFile(staged.path, "utf8"),
            catch: (cause) => storeError(staged.path, cause)
          })
        )
        if (Either.isLeft(tree))
          return yield* fail("Damaged", `blob ${digest} of ${node} is no tree; export it again`)
        for (const file of tree.right.files) yield* need(file.digest, node)
      }
    }
    return { header, log }
  })

/** Lines of the log that the store does not have. */
const missingLines = (path: string, { run, lines }: NonNullable<Contents["log"]>) =>
  Effect.gen(function* () {
    const store = yield* Store
    if (!(yield* store.runs).includes(run)) return lines
    const known = Chunk.toReadonlyArray(yield* Stream.runCollect(store.events(run))).map((event) =>
      JSON.stringify(event)
    )
    const shared = Math.min(known.length, lines.length)
    if (known.slice(0, shared).every((line, i) => line === lines[i])) return lines.slice(shared)
    return yield* wrong(path)("Conflict", `the store has another run ${run}; import it into another store`)
  })

/** Brings an exported run into the store: blobs, then actions, then its log. What is there already stays as it is. */
export const importRun = (path: string): Effect.Effect<Imported, ArchiveError | StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const contents: Contents = { blobs: new Map(), actions: new Map() }
    yield* Stream.runForEach(
      entries(path, () => contents.header !== undefined),
      (entry) => readEntry(path, contents, entry)
    )
    const { header, log } = yield* check(path, contents)
    const lines = yield* missingLines(path, log)

    const added = { log: lines.length > 0, actions: 0, blobs: 0, bytes: 0 }
    for (const staged of contents.blobs.values()) {
      if (!(yield* store.maintenance.place(staged))) continue
      added.blobs++
      added.bytes += staged.size
    }
    for (const action of contents.actions.values()) {
      if (Option.isSome(yield* store.getAction(action.key))) continue
      yield* store.putAction(action)
      added.actions++
    }
    for (const line of lines) yield* store.appendEvent(log.run, JSON.parse(line))
    // Waits until the log is written, and tells where it cannot be.
    yield* store.runs
    const bytes = header.leftOut.reduce((sum, { size }) => sum + size, 0)
    return {
      run: header.run,
      pipeline: header.pipeline,
      added,
      actions: header.actions,
      blobs: header.blobs,
      leftOut: { files: header.leftOut.length, bytes }
    }
  }).pipe(Effect.scoped)
