/**
 * Two runs side by side: what differs in parameters, keys, results and time.
 */
import type { Json } from "@tessera/core"
import { type Artifact, Store, type StoreError } from "@tessera/store"
import { Effect, Option, Schema, Stream } from "effect"
import { changedParams, differences } from "./Difference.js"
import { recorded } from "./History.js"
import { StoredManifest } from "./Keys.js"
import * as Logbook from "./Logbook.js"

export interface ComparedNode {
  readonly node: string
  /** `same`: equal keys. `recomputed`: other keys, equal results. */
  readonly status: "same" | "recomputed" | "changed" | "added" | "removed"
  /** Of the manifests, in words; of the first shard that differs, where there are shards. */
  readonly differences: ReadonlyArray<string>
  /** Output ports whose content differs, in some shard. */
  readonly outputs: ReadonlyArray<string>
  /** Milliseconds of executions; undefined where all was cached, or the node is not in the run. */
  readonly millis: readonly [before: number | undefined, after: number | undefined]
}

export interface Comparison {
  readonly before: Logbook.RunSummary
  readonly after: Logbook.RunSummary
  /** Of the pipelines' parameters and overrides, in words. */
  readonly params: ReadonlyArray<string>
  /** In the order of the later run. */
  readonly nodes: ReadonlyArray<ComparedNode>
  /** Targets of both runs whose content differs. */
  readonly targets: Readonly<Record<string, readonly [before: Artifact, after: Artifact]>>
}

interface Task {
  readonly key: string
  readonly outputs: Readonly<Record<string, Artifact>>
}

interface Told {
  params: unknown
  readonly nodes: Map<string, { readonly tasks: Map<string, Task>; millis: number | undefined }>
  targets: Readonly<Record<string, Artifact>>
}

const read = (run: string): Effect.Effect<Told, StoreError, Store> =>
  Effect.gen(function* () {
    const told: Told = { params: {}, nodes: new Map(), targets: {} }
    yield* Stream.runForEach(Logbook.events(run), (event) =>
      Effect.sync(() => {
        switch (event._tag) {
          case "RunStarted":
            told.params = event.set === undefined ? event.params : { ...Object(event.params), set: event.set }
            break
          case "TaskCached":
          case "TaskCommitted": {
            const node = told.nodes.get(event.node) ?? { tasks: new Map<string, Task>(), millis: undefined }
            node.tasks.set(event.shard ?? "", { key: event.key, outputs: event.outputs })
            if (event._tag === "TaskCommitted") node.millis = (node.millis ?? 0) + event.millis
            told.nodes.set(event.node, node)
            break
          }
          case "RunFinished":
            told.targets = event.targets
            break
        }
      })
    )
    return told
  })

const manifest = (key: string) =>
  Effect.gen(function* () {
    const store = yield* Store
    const action = yield* store.getAction(key)
    return Option.getOrUndefined(
      Option.flatMap(action, (found) => Schema.decodeUnknownOption(StoredManifest)(found.manifest))
    )
  })

/** Why two keys differ; says so where a result was collected since. */
const why = (before: string, after: string): Effect.Effect<ReadonlyArray<string>, StoreError, Store> =>
  Effect.gen(function* () {
    const [a, b] = [yield* manifest(before), yield* manifest(after)]
    if (a === undefined || b === undefined) return ["the manifest is no longer in the store"]
    const codes = a.code === b.code ? [] : [yield* recorded(a.code), yield* recorded(b.code)]
    return differences(a, b, { before: codes[0], after: codes[1] })
  })

const compareNode = (
  node: string,
  before: Told,
  after: Told
): Effect.Effect<ComparedNode, StoreError, Store> =>
  Effect.gen(function* () {
    const [a, b] = [before.nodes.get(node), after.nodes.get(node)]
    const millis = [a?.millis, b?.millis] as const
    if (a === undefined || b === undefined) {
      const status = a === undefined ? ("added" as const) : ("removed" as const)
      return { node, status, differences: [], outputs: [], millis }
    }
    const outputs = new Set<string>()
    let words: ReadonlyArray<string> | undefined
    for (const shard of new Set([...a.tasks.keys(), ...b.tasks.keys()])) {
      const [x, y] = [a.tasks.get(shard), b.tasks.get(shard)]
      if (x?.key === y?.key) continue
      words ??=
        x === undefined || y === undefined
          ? [`shard ${shard} is ${x === undefined ? "new" : "gone"}`]
          : yield* why(x.key, y.key)
      for (const port of Object.keys({ ...x?.outputs, ...y?.outputs }))
        if (x?.outputs[port]?.digest !== y?.outputs[port]?.digest) outputs.add(port)
    }
    const status = words === undefined ? "same" : outputs.size === 0 ? "recomputed" : "changed"
    return { node, status, differences: words ?? [], outputs: [...outputs].sort(), millis }
  })

/** Compares two runs, of which the logs are in the store. */
export const compare = (before: string, after: string): Effect.Effect<Comparison, StoreError, Store> =>
  Effect.gen(function* () {
    const [a, b] = [yield* read(before), yield* read(after)]
    const nodes = [...new Set([...b.nodes.keys(), ...a.nodes.keys()])]
    return {
      before: yield* Logbook.summary(before),
      after: yield* Logbook.summary(after),
      params: changedParams(a.params as Json, b.params as Json),
      nodes: yield* Effect.forEach(nodes, (node) => compareNode(node, a, b)),
      targets: Object.fromEntries(
        Object.entries(b.targets).flatMap(([name, now]) => {
          const was = a.targets[name]
          return was === undefined || was.digest === now.digest ? [] : [[name, [was, now] as const]]
        })
      )
    }
  })
