/**
 * What earlier runs of a pipeline did with a node: read from the run logs, newest first, as far back as needed.
 */
import type { Manifest } from "@tessera/core"
import { Store, type StoreError } from "@tessera/store"
import { Effect, Option, Schema, Stream } from "effect"
import * as Cause from "./Cause.js"
import { changedInputs, differences } from "./Difference.js"
import { RunEvent } from "./Events.js"
import type { Keyed } from "./Keys.js"
import * as Records from "./Records.js"

/** Logs of this pipeline to look at before a node counts as one that never ran. */
const DEPTH = 20

export interface Previous {
  readonly key: string
  readonly run: string
  readonly manifest: Manifest
}

interface Entry {
  /** The last result, cached or computed. */
  readonly result?: { readonly key: string; readonly run: string }
  /** An execution after that result that did not get to an end, or to a bad one. */
  readonly attempt?: { readonly key: string; readonly failed: boolean }
}

interface Log {
  readonly run: string
  /** By node, then by shard; the empty name where the node ran whole. */
  readonly nodes: ReadonlyMap<string, ReadonlyMap<string, Entry>>
}

export interface Why {
  readonly previous: Option.Option<Previous>
  readonly differences: ReadonlyArray<string>
  /** All of it in one line. */
  readonly reason: string
}

export interface History {
  /** Why an execution with this key is needed. */
  readonly why: (
    at: { readonly node: string; readonly shard?: string },
    keyed: Keyed
  ) => Effect.Effect<Why, StoreError>
}

const decodeEvent = Schema.decodeUnknownOption(RunEvent)

const read = (run: string, events: Iterable<unknown>): Log => {
  const nodes = new Map<string, Map<string, Entry>>()
  const entriesOf = (node: string) => {
    const entries = nodes.get(node) ?? new Map<string, Entry>()
    nodes.set(node, entries)
    return entries
  }
  for (const raw of events) {
    const event = Option.getOrUndefined(decodeEvent(raw))
    switch (event?._tag) {
      case "TaskCached":
      case "TaskCommitted":
        entriesOf(event.node).set(event.shard ?? "", { result: { key: event.key, run } })
        break
      case "TaskStarted":
      case "TaskFailed": {
        const entries = entriesOf(event.node)
        const attempt = { key: event.key, failed: event._tag === "TaskFailed" }
        entries.set(event.shard ?? "", { ...entries.get(event.shard ?? ""), attempt })
        break
      }
      case "NodeSharded":
        entriesOf(event.node)
        break
    }
  }
  return { run, nodes }
}

/**
 * @param current the run that asks, whose own log does not count
 * @param upstream the graph, so that a changed input can be traced to what changed it
 */
export const make = (
  pipeline: string,
  current?: string,
  upstream?: Cause.Upstream
): Effect.Effect<History, never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const records = yield* Records.make

    const load = (run: string): Effect.Effect<Option.Option<Log>, StoreError> =>
      Effect.gen(function* () {
        const first = Option.flatMap(yield* Stream.runHead(store.events(run)), decodeEvent)
        if (Option.isNone(first) || first.value._tag !== "RunStarted" || first.value.pipeline !== pipeline) {
          return Option.none()
        }
        return Option.some(read(run, yield* Stream.runCollect(store.events(run))))
      })

    const loaded: Array<Log> = []
    let pending: Array<string> | undefined
    const turn = yield* Effect.makeSemaphore(1)
    /** The n-th newest log of this pipeline. */
    const nth = (n: number): Effect.Effect<Log | undefined, StoreError> =>
      turn.withPermits(1)(
        Effect.gen(function* () {
          pending ??= (yield* store.runs).filter((run) => run !== current)
          while (loaded.length <= n && loaded.length < DEPTH) {
            const run = pending.shift()
            if (run === undefined) break
            const log = yield* load(run)
            if (Option.isSome(log)) loaded.push(log.value)
          }
          return loaded[n]
        })
      )

    const find = (node: string, shard: string | undefined) =>
      Effect.gen(function* () {
        let attempt: Entry["attempt"]
        let known = false
        for (let n = 0; ; n++) {
          const log = yield* nth(n)
          if (log === undefined) return { attempt, known, result: undefined }
          const entries = log.nodes.get(node)
          known ||= entries !== undefined
          const entry = entries?.get(shard ?? "")
          attempt ??= entry?.attempt
          if (entry?.result !== undefined) return { attempt, known: true, result: entry.result }
        }
      })

    const keysIn = (run: string, node: string) =>
      Effect.sync(() =>
        [
          ...(loaded
            .find((log) => log.run === run)
            ?.nodes.get(node)
            ?.values() ?? [])
        ].flatMap(({ result }) => (result === undefined ? [] : [result.key]))
      )
    const causes = upstream === undefined ? undefined : Cause.make(upstream, keysIn, records)

    /** By input. */
    const reasons = (node: string, run: string, before: Manifest, now: Manifest) =>
      Effect.gen(function* () {
        const found: Record<string, string> = {}
        if (causes === undefined) return found
        for (const port of changedInputs(before, now)) {
          const reason = yield* causes.of(node, port, run)
          if (reason !== undefined) found[port] = reason
        }
        return found
      })

    return {
      why: ({ node, shard }, keyed) =>
        Effect.gen(function* () {
          const { key, manifest } = keyed
          const { attempt, known, result } = yield* find(node, shard)
          const tried =
            attempt?.key !== key
              ? undefined
              : attempt.failed
                ? "failed last time"
                : "did not finish last time"
          if (result === undefined) {
            const reason = tried ?? (shard !== undefined && known ? `shard ${shard} never ran` : "never ran")
            return { previous: Option.none(), differences: [], reason }
          }
          const before = yield* records.manifest(result.key)
          if (Option.isNone(before)) {
            const reason =
              tried ??
              (result.key === key ? "result missing or damaged" : "changed; the earlier result is gone")
            return { previous: Option.none(), differences: [], reason }
          }
          const previous = Option.some({ ...result, manifest: before.value })
          const changed = differences(
            before.value,
            manifest,
            yield* records.codes(before.value, keyed),
            yield* reasons(node, result.run, before.value, manifest)
          )
          const reason = changed.length === 0 ? (tried ?? "not reproducible") : changed.join("; ")
          return {
            previous,
            differences: changed,
            reason: tried === undefined || changed.length === 0 ? reason : `${tried}; ${reason}`
          }
        })
    }
  })

export { recorded, remember } from "./Records.js"
