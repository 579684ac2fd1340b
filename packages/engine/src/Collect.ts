/**
 * What of a store nobody asked to keep: found by following what kept runs used, never by age alone.
 */
import type { Manifest } from "@tessera/core"
import { type Action, type Artifact, type Garbage, Store, type StoreError } from "@tessera/store"
import { Chunk, Clock, Duration, Effect, Option, Schema, Stream } from "effect"
import { StoredManifest } from "./Keys.js"
import * as Logbook from "./Logbook.js"

/** Which runs are kept, with all they made or used: those that fall under either. */
export interface Keep {
  /** The newest so many of each pipeline. */
  readonly runs?: number
  /** Those that started within so long. */
  readonly age?: Duration.Duration
}

/** What a run that was killed made is kept for so long: the next one goes on from there. */
const UNFINISHED = Duration.days(7)

export interface Collection extends Garbage {
  readonly kept: {
    readonly runs: number
    readonly actions: number
    readonly blobs: number
    readonly bytes: number
  }
  /** Bytes of the blobs that would go. */
  readonly bytes: number
  /** What was written or used since then (milliseconds since the epoch) stays: to be told to the store's `remove`. */
  readonly youngest: number
}

const started = (at: string): number => Date.parse(at) || 0

const keptRuns = (
  all: ReadonlyArray<Logbook.RunSummary>,
  keep: Keep,
  now: number,
  grace: Duration.Duration,
  underWay: ReadonlySet<string>
): ReadonlyArray<Logbook.RunSummary> => {
  const seen = new Map<string, number>()
  return all.filter((run) => {
    const newer = seen.get(run.pipeline) ?? 0
    seen.set(run.pipeline, newer + 1)
    const age = now - started(run.startedAt)
    return (
      newer < (keep.runs ?? 0) ||
      age <= Duration.toMillis(Duration.max(grace, keep.age ?? Duration.zero)) ||
      underWay.has(run.run) ||
      (run.outcome === "unfinished" && age <= Duration.toMillis(UNFINISHED))
    )
  })
}

interface Used {
  readonly keys: Set<string>
  readonly artifacts: Array<Artifact>
}

/** Adds the keys and outputs that a run named. */
const addUsed = (used: Used, run: string) =>
  Stream.runForEach(Logbook.events(run), (event) =>
    Effect.sync(() => {
      if (event._tag !== "TaskCached" && event._tag !== "TaskCommitted") return
      used.keys.add(event.key)
      used.artifacts.push(...Object.values(event.outputs))
    })
  )

export const manifestOf = ({ manifest }: Action): Manifest | undefined =>
  Option.getOrUndefined(Schema.decodeUnknownOption(StoredManifest)(manifest))

/** What the engine remembers for itself: splits, concatenations, the files behind a code digest. */
export const isInternal = (action: Action): boolean =>
  manifestOf(action)?.stage.startsWith("tessera/") ?? false

const CodeParams = Schema.Struct({ digest: Schema.String })

/** Whether something that stays may ask for it again. */
export const isNeeded = (
  action: Action,
  reachable: ReadonlySet<string>,
  codes: ReadonlySet<string>
): boolean => {
  const manifest = manifestOf(action)
  const inputs = Object.values(manifest?.inputs ?? {})
  if (inputs.length > 0) return inputs.every(([, digest]) => reachable.has(digest))
  const code = Schema.decodeUnknownOption(CodeParams)(manifest?.params)
  return Option.isSome(code) && codes.has(code.value.digest)
}

/**
 * Finds what can go: runs that are not kept; executions that no kept run made or used; blobs that nothing left names.
 * Pinned artifacts stay, and so does everything that was written or used within the grace period, in which a run that is
 * under way may have written what it has not published yet: the period begins no later than the first such run.
 */
export const garbage = (
  keep: Keep,
  grace: Duration.Duration = Duration.days(1)
): Effect.Effect<Collection, StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const now = yield* Clock.currentTimeMillis
    const attended = new Set(yield* store.maintenance.underWay)
    // A key is leased by a run that nobody attends where another version of Tessera works with the same store.
    const unattended = attended.size === 0 && (yield* store.maintenance.leased).length > 0
    const runs = Chunk.toReadonlyArray(yield* Stream.runCollect(Logbook.runs))
    const active = runs.filter(
      ({ outcome, run }) => outcome === "unfinished" && (unattended || attended.has(run))
    )
    const kept = keptRuns(runs, keep, now, grace, new Set(active.map(({ run }) => run)))
    const youngest = active.reduce(
      (first, { startedAt }) => Math.min(first, started(startedAt)),
      now - Duration.toMillis(grace)
    )
    const keptIds = new Set(kept.map(({ run }) => run))
    const used: Used = { keys: new Set(), artifacts: [] }
    yield* Effect.forEach(kept, ({ run }) => addUsed(used, run), { discard: true })
    const reachable = new Set<string>()
    const reach = (artifact: Artifact): Effect.Effect<void, StoreError> =>
      Effect.gen(function* () {
        if (reachable.has(artifact.digest)) return
        reachable.add(artifact.digest)
        if (artifact.kind !== "tree") return
        // A tree whose manifest is damaged names nothing any more.
        const files = yield* Effect.orElseSucceed(store.maintenance.treeFiles(artifact.digest), () => [])
        for (const { digest } of files) reachable.add(digest)
      })
    const reachAll = (artifacts: Iterable<Artifact>) => Effect.forEach(artifacts, reach, { discard: true })
    yield* reachAll(used.artifacts)
    yield* reachAll((yield* store.maintenance.pins).map(({ artifact }) => artifact))

    const files = yield* store.maintenance.actions
    const young = new Set(files.filter(({ modified }) => modified > youngest).map(({ key }) => key))
    const actions = Chunk.toReadonlyArray(yield* Stream.runCollect(store.actions))
    const stays = new Set<string>()
    const codes = new Set<string>()
    for (const action of actions) {
      if (isInternal(action)) continue
      if (!used.keys.has(action.key) && !young.has(action.key)) continue
      stays.add(action.key)
      codes.add(manifestOf(action)?.code ?? "")
      yield* reachAll(Object.values(action.outputs))
    }
    // Oldest first: what is split may be a concatenation.
    for (const action of actions.filter(isInternal).toReversed()) {
      const kept = young.has(action.key) || keptIds.has(action.run)
      if (!kept && !isNeeded(action, reachable, codes)) continue
      stays.add(action.key)
      yield* reachAll(Object.values(action.outputs))
    }

    const blobs = yield* store.maintenance.blobs
    const isKept = ({ digest, modified }: (typeof blobs)[number]) =>
      reachable.has(digest) || modified > youngest
    const going = blobs.filter((blob) => !isKept(blob))
    const size = (all: typeof blobs) => all.reduce((sum, blob) => sum + blob.size, 0)
    return {
      runs: runs.filter(({ run }) => !keptIds.has(run)).map(({ run }) => run),
      // With those that are damaged, which say nothing of what they need.
      actions: files.filter(({ key }) => !stays.has(key) && !young.has(key)).map(({ key }) => key),
      blobs: going,
      bytes: size(going),
      youngest,
      kept: {
        runs: kept.length,
        actions: stays.size,
        blobs: blobs.length - going.length,
        bytes: size(blobs) - size(going)
      }
    }
  })
