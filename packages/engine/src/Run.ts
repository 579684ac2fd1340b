/**
 * Runs a pipeline: every node as soon as its inputs are there, as many side by side as there are cores.
 */
import { availableParallelism } from "node:os"
import type { ArtifactError, Graph, GraphError, Pipeline, Targets } from "@tessera/core"
import { Store, type Artifact, type StoreError } from "@tessera/store"
import { Cause, Clock, Deferred, Effect, Option, Scope } from "effect"
import { ulid } from "ulid"
import type { RunOptions, RunResult } from "./Engine.js"
import { EngineError, type StageFailed } from "./Errors.js"
import { execute, lookUp, type Context, type Done } from "./Execute.js"
import * as History from "./History.js"
import * as Journal from "./Journal.js"
import * as Keys from "./Keys.js"
import { prepare, type Prepared, type PreparedNode } from "./Prepare.js"
import * as Services from "./Services.js"
import { jobs, view, type Job, type Outcome, type Value } from "./Views.js"

/** Everything a run can fail with. `StageFailed` carries what the stages fail with. */
export type RunError<E> = GraphError | EngineError | StageFailed<E> | StoreError | ArtifactError

/** Lookups of results at once: they wait for the disk, not for a core. */
const LOOKUPS = 16

interface Slots {
  readonly take: (node: PreparedNode) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

const slots = (cores: number, gpus: number): Effect.Effect<Slots> =>
  Effect.gen(function* () {
    const cpu = yield* Effect.makeSemaphore(cores)
    const gpu = yield* Effect.makeSemaphore(gpus)
    return {
      // A stage that wants more than there is gets all there is, rather than waiting for ever.
      take: ({ node: { stage } }) => {
        const { cpu: wantedCpu = 1, gpu: wantedGpu = 0 } = stage.spec.resources ?? {}
        return (effect) =>
          effect.pipe(
            cpu.withPermits(Math.max(1, Math.min(Math.ceil(wantedCpu), cores))),
            gpu.withPermits(Math.min(Math.ceil(wantedGpu), gpus))
          )
      }
    }
  })

interface Progress<E> extends Context<E> {
  readonly prepared: Prepared
  readonly keys: Keys.Keys<E>
  readonly slots: Slots
  readonly lookups: Effect.Semaphore
  readonly outcomes: ReadonlyMap<Graph.Node, Deferred.Deferred<Outcome>>
  /** What arrives along an edge; consumers that see an output alike share one view of it. */
  readonly arriving: (edge: Graph.Edge) => Effect.Effect<Value, RunError<E>>
  readonly count: { cached: number; executed: number }
}

const task = <E>(
  run: Progress<E>,
  node: PreparedNode,
  { shard, inputs }: Job
): Effect.Effect<Done, RunError<E>, Store> =>
  Effect.gen(function* () {
    const keyed = yield* run.keys.keyed(node, inputs, shard)
    const warn = (detail: string) =>
      Effect.ignore(
        run.journal.tell({ _tag: "Warning", node: node.name, detail: `${detail}; it is computed again` })
      )
    const known = yield* run.lookups.withPermits(1)(lookUp(node, keyed.key, warn))
    if (Option.isSome(known)) {
      const at = { node: node.name, ...(shard === undefined ? {} : { shard }) }
      yield* run.journal.tell({ _tag: "TaskCached", ...at, key: keyed.key, outputs: known.value })
      return { outputs: known.value, cached: true }
    }
    return yield* run.slots.take(node)(execute(run, node, keyed, inputs, shard))
  }).pipe(
    Effect.tap(({ cached }) =>
      Effect.sync(() => {
        if (cached) run.count.cached++
        else run.count.executed++
      })
    )
  )

const arriving = <E>(
  { byNode }: Prepared,
  outcomes: ReadonlyMap<Graph.Node, Deferred.Deferred<Outcome>>,
  run: string
): Effect.Effect<Progress<E>["arriving"], never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const shared = yield* Effect.cachedFunction((edge: Graph.Edge): Effect.Effect<Value, RunError<E>> =>
      Effect.gen(function* () {
        const [producer, outcome] = [byNode.get(edge.node), outcomes.get(edge.node)]
        if (producer === undefined || outcome === undefined)
          return yield* Effect.dieMessage("an edge leaves the graph")
        const value = yield* view({ run, mode: "compute" }, producer, yield* Deferred.await(outcome), edge)
        return Option.getOrThrow(value)
      }).pipe(Effect.provideService(Store, store))
    )
    const same = new Map<Graph.Node, Map<string, Graph.Edge>>()
    return (edge) => {
      const views = same.get(edge.node) ?? new Map<string, Graph.Edge>()
      same.set(edge.node, views)
      const sort = [edge.port, edge.view._tag, edge.view._tag === "Shard" ? edge.view.by : ""].join("\0")
      const first = views.get(sort) ?? edge
      views.set(sort, first)
      return shared(first)
    }
  })

const runNode = <E>(run: Progress<E>, prepared: PreparedNode): Effect.Effect<void, RunError<E>, Store> =>
  Effect.gen(function* () {
    const { name, node } = prepared
    const values = yield* Effect.all(
      Object.fromEntries(Object.entries(node.inputs).map(([port, edge]) => [port, run.arriving(edge)]))
    )
    const todo = yield* jobs(prepared, values)
    if (node.each) {
      yield* run.journal.tell({
        _tag: "NodeSharded",
        node: name,
        shards: todo.map(({ shard = "" }) => shard)
      })
    }
    const done = yield* Effect.forEach(todo, (job) => task(run, prepared, job), { concurrency: "unbounded" })
    const [only] = done
    const outcome: Outcome =
      node.each || only === undefined
        ? { _tag: "Many", shards: done.map(({ outputs }, i) => ({ shard: todo[i]?.shard ?? "", outputs })) }
        : { _tag: "One", outputs: only.outputs }
    const deferred = run.outcomes.get(node)
    if (deferred !== undefined) yield* Deferred.succeed(deferred, outcome)
  })

const targetArtifacts = <E>(run: Progress<E>): Effect.Effect<Record<string, Artifact>, RunError<E>, Store> =>
  Effect.gen(function* () {
    const targets: Record<string, Artifact> = {}
    for (const [name, edge] of Object.entries(run.prepared.targets)) {
      const value = yield* run.arriving(edge)
      if (value._tag === "One") targets[name] = value.artifact
      else for (const { shard, artifact } of value.shards) targets[`${name}/${shard}`] = artifact
    }
    return targets
  })

const attempt = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  prepared: Prepared,
  options: RunOptions,
  scope: Scope.Scope
): Effect.Effect<RunResult, RunError<E>, R | Store> =>
  Effect.gen(function* () {
    const started = yield* Clock.currentTimeMillis
    const journal = yield* Journal.make(ulid(started), options.onEvent)
    const services = yield* Services.make(pipeline, scope)
    const outcomes = new Map<Graph.Node, Deferred.Deferred<Outcome>>()
    for (const { node } of prepared.nodes) outcomes.set(node, yield* Deferred.make<Outcome>())
    const run: Progress<E> = {
      prepared,
      journal,
      services,
      outcomes,
      arriving: yield* arriving<E>(prepared, outcomes, journal.run),
      keys: yield* Keys.make(prepared.nodes, services),
      history: yield* History.make(prepared.pipeline, journal.run),
      remembered: new Set(),
      slots: yield* slots(
        Math.max(1, options.concurrency ?? availableParallelism()),
        Math.max(1, options.gpus ?? 1)
      ),
      lookups: yield* Effect.makeSemaphore(LOOKUPS),
      count: { cached: 0, executed: 0 }
    }
    const finish = (outcome: "succeeded" | "failed" | "interrupted", targets: Record<string, Artifact>) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        journal.tell({ _tag: "RunFinished", run: journal.run, outcome, millis: now - started, targets })
      )
    const targets = yield* journal
      .tell({
        _tag: "RunStarted",
        run: journal.run,
        pipeline: prepared.pipeline,
        params: prepared.params,
        ...(options.set === undefined ? {} : { set: options.set }),
        nodes: prepared.nodes.map(({ name }) => name)
      })
      .pipe(
        Effect.zipRight(
          Effect.forEach(prepared.nodes, (node) => runNode(run, node), {
            concurrency: "unbounded",
            discard: true
          })
        ),
        Effect.zipRight(targetArtifacts(run)),
        Effect.tap((targets) => finish("succeeded", targets)),
        // A failed run keeps its own error, even where its log can no longer be written.
        Effect.onError((cause) =>
          Effect.ignore(finish(Cause.isInterruptedOnly(cause) ? "interrupted" : "failed", {}))
        )
      )
    return { run: journal.run, targets, ...run.count }
  })

/**
 * Computes the targets of a pipeline. What the store has is not computed again; what fails or is interrupted leaves
 * finished results in the store and nothing else.
 *
 * The pipeline's own layer is built when a stage first needs it, and closed at the end.
 */
export const run = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  options: RunOptions = {}
): Effect.Effect<RunResult, RunError<E>, R | Store> =>
  Effect.flatMap(prepare(pipeline, options), (prepared) =>
    Effect.acquireUseRelease(
      Scope.make(),
      (scope) => attempt(pipeline, prepared, options, scope),
      (scope, exit) => Scope.close(scope, exit)
    )
  )
