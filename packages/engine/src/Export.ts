/**
 * A run with all that it made or used, as one file.
 */
import { createReadStream, createWriteStream } from "node:fs"
import { rename, rm, stat } from "node:fs/promises"
import { pipeline } from "node:stream/promises"
import { Action, type Artifact, Store, type StoreError, storeError } from "@tessera/store"
import { Chunk, Effect, Option, Schema, Stream } from "effect"
import type { Pack } from "tar-stream"
import { actionName, ArchiveError, blobName, Header, HEADER, logName } from "./Archive.js"
import { isInternal, isNeeded, manifestOf } from "./Collect.js"
import * as Logbook from "./Logbook.js"

export interface ExportOptions {
  /** Whether files of folders that are read in place go along. Default: no. */
  readonly external?: boolean
}

export interface Exported {
  readonly run: string
  readonly path: string
  /** Of the archive. */
  readonly bytes: number
  readonly actions: number
  readonly blobs: number
  /** Files of folders read in place that are not in it. */
  readonly leftOut: { readonly files: number; readonly bytes: number }
}

interface Contents {
  readonly header: Header
  readonly actions: ReadonlyArray<Action>
  /** By digest. */
  readonly blobs: ReadonlyMap<string, string>
  readonly log: string
}

const encodeAction = Schema.encodeSync(Schema.parseJson(Action))

const lacks = (run: string, detail: string, cause?: unknown) =>
  new ArchiveError({
    reason: "Incomplete",
    path: `run ${run}`,
    detail: `${detail}; run its pipeline again, then export that run`,
    cause
  })

/** The actions that a run named, its sources aside, and every artifact. */
const tasks = (run: string) =>
  Effect.gen(function* () {
    const store = yield* Store
    const actions = new Map<string, Action>()
    const artifacts: Array<Artifact> = []
    yield* Stream.runForEach(Logbook.events(run), (event) =>
      Effect.gen(function* () {
        if (event._tag === "RunFinished") artifacts.push(...Object.values(event.targets))
        if (event._tag !== "TaskCached" && event._tag !== "TaskCommitted") return
        const outputs = Object.values(event.outputs)
        artifacts.push(...outputs)
        // What is read in place was not computed: its key is its digest.
        if (outputs.some(({ digest }) => digest === event.key) || actions.has(event.key)) return
        let why = "its result is gone"
        const action = yield* store.getAction(event.key, (said) => Effect.sync(() => void (why = said)))
        if (Option.isNone(action)) return yield* lacks(run, `${event.node} is not whole: ${why}`)
        actions.set(event.key, action.value)
      })
    )
    return { actions, artifacts }
  })

/** Splits, concatenations and lists of code files that belong to what is there already. */
const addInternal = (actions: Map<string, Action>, artifacts: Array<Artifact>) =>
  Effect.gen(function* () {
    const store = yield* Store
    const codes = new Set([...actions.values()].map((action) => manifestOf(action)?.code ?? ""))
    const reachable = new Set(artifacts.map(({ digest }) => digest))
    const all = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.filter(store.actions, isInternal)))
    // Oldest first: what is split may be a concatenation.
    for (const { key } of all.toReversed().filter((action) => isNeeded(action, reachable, codes))) {
      const action = yield* store.getAction(key)
      if (Option.isNone(action)) continue
      actions.set(key, action.value)
      for (const artifact of Object.values(action.value.outputs)) {
        artifacts.push(artifact)
        reachable.add(artifact.digest)
      }
    }
  })

const contents = (run: string, options: ExportOptions) =>
  Effect.gen(function* () {
    const store = yield* Store
    const { pipeline } = yield* Logbook.summary(run)
    const { actions, artifacts } = yield* tasks(run)
    yield* addInternal(actions, artifacts)
    const computed = new Set(
      [...actions.values()].flatMap(({ outputs }) => Object.values(outputs)).map((a) => a.digest)
    )
    const blobs = new Map<string, string>()
    const leftOut = new Map<string, number>()
    const own = new Set((yield* store.maintenance.blobs).map(({ digest }) => digest))
    const add = (digest: string, size: number, made: boolean) =>
      Effect.gen(function* () {
        if (blobs.has(digest)) return
        if (!made && options.external !== true && !own.has(digest)) {
          leftOut.set(digest, size)
          return
        }
        const path = yield* Effect.mapError(store.blobPath(digest), (cause) =>
          lacks(run, cause.message, cause)
        )
        blobs.set(digest, path)
        leftOut.delete(digest)
      })
    for (const { kind, digest, size } of artifacts) {
      yield* add(digest, size, true)
      if (kind !== "tree") continue
      const files = yield* Effect.mapError(store.maintenance.treeFiles(digest), (cause) =>
        lacks(run, cause.message, cause)
      )
      for (const file of files) yield* add(file.digest, file.size, computed.has(digest))
    }
    const lines = Chunk.toReadonlyArray(yield* Stream.runCollect(store.events(run)))
    return {
      header: {
        format: "tessera.run/1",
        run,
        pipeline,
        blobs: blobs.size,
        actions: actions.size,
        leftOut: [...leftOut].map(([digest, size]) => ({ digest, size })).sort(byDigest)
      },
      actions: [...actions.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
      blobs: new Map([...blobs].sort(([a], [b]) => (a < b ? -1 : 1))),
      log: lines.map((line) => `${JSON.stringify(line)}\n`).join("")
    } satisfies Contents
  })

const byDigest = (a: { readonly digest: string }, b: { readonly digest: string }) =>
  a.digest < b.digest ? -1 : 1

const fixed = { mtime: new Date(0), uid: 0, gid: 0, uname: "", gname: "", mode: 0o444 }

const addText = (archive: Pack, name: string, text: string) =>
  new Promise<void>((resolve, reject) => {
    archive.entry({ ...fixed, name }, text, (error) => (error == null ? resolve() : reject(error)))
  })

const addFile = async (archive: Pack, name: string, file: string, signal: AbortSignal) => {
  const { size } = await stat(file)
  const entry = archive.entry({ ...fixed, name, size })
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), entry, { signal })
}

const fill = async (archive: Pack, { header, actions, blobs, log }: Contents, signal: AbortSignal) => {
  await addText(archive, HEADER, `${JSON.stringify(Schema.encodeSync(Header)(header))}\n`)
  for (const [digest, file] of blobs) await addFile(archive, blobName(digest), file, signal)
  for (const action of actions) await addText(archive, actionName(action.key), encodeAction(action))
  await addText(archive, logName(header.run), log)
  archive.finalize()
}

const write = async (path: string, what: Contents, signal: AbortSignal): Promise<number> => {
  const { pack } = await import("tar-stream")
  const archive = pack()
  const partial = `${path}.${process.pid}.partial`
  try {
    const written = pipeline(archive, createWriteStream(partial, { flags: "wx", flush: true }), { signal })
    const filled = fill(archive, what, signal)
    // Whichever fails first says why; the other one only says that it was cut off, or waits for ever.
    for (const end of [written, filled]) end.catch(() => {})
    await Promise.race([written, filled.then(() => written)])
    await rename(partial, path)
    return (await stat(path)).size
  } catch (cause) {
    archive.destroy()
    await rm(partial, { force: true })
    throw cause
  }
}

/** Writes a run to a file: whole, or not at all. Its log, its results and every blob that they name go along. */
export const exportRun = (
  run: string,
  path: string,
  options: ExportOptions = {}
): Effect.Effect<Exported, ArchiveError | StoreError, Store> =>
  Effect.gen(function* () {
    const what = yield* contents(run, options)
    const bytes = yield* Effect.tryPromise({
      try: (signal) => write(path, what, signal),
      catch: (cause) => storeError(path, cause)
    })
    const { actions, blobs, leftOut } = what.header
    const size = leftOut.reduce((sum, file) => sum + file.size, 0)
    return { run, path, bytes, actions, blobs, leftOut: { files: leftOut.length, bytes: size } }
  })
