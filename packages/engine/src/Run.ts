/**
 * Runs a pipeline: every node as soon as its inputs are there, as many side by side as there are cores.
 */
import { availableParallelism } from "node:os"
import type { ArtifactError, Graph, GraphError, Pipeline, Targets } from "@tessera/core"
import { Store, type Artifact, type StoreError } from "@tessera/store"
import { Cause, Clock, Effect, Option, Scope, Stream } from "effect"
import { ulid } from "ulid"
import { adopt } from "./Adopt.js"
import type { RunOptions, RunResult } from "./Engine.js"
import { EngineError, type StageFailed } from "./Errors.js"
import { execute, lookUp, type Context } from "./Execute.js"
import { visitAll } from "./Frontier.js"
import * as History from "./History.js"
import * as Journal from "./Journal.js"
import * as Keys from "./Keys.js"
import type { Inputs } from "./Keys.js"
import { prepare, type Prepared, type PreparedNode } from "./Prepare.js"
import * as Services from "./Services.js"
import { jobs, view, type Job, type Outcome, type Value } from "./Views.js"

/** Everything a run can fail with. `StageFailed` carries what the stages fail with. */
export type RunError<E> = GraphError | EngineError | StageFailed<E> | StoreError | ArtifactError

/** Lookups of results at once: they wait for the disk, not for a core. */
const LOOKUPS = 16
/** Nodes at once; most of them wait for a core. More fibers than this cost more than they gain. */
const NODES = 64

interface Slots {
  readonly cores: number
  readonly take: (node: PreparedNode) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

const slots = (cores: number, gpus: number): Effect.Effect<Slots> =>
  Effect.gen(function* () {
    const cpu = yield* Effect.makeSemaphore(cores)
    const gpu = yield* Effect.makeSemaphore(gpus)
    return {
      cores,
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
  readonly outcomes: Map<Graph.Node, Outcome>
  /** What arrives along an edge; consumers that see an output alike share one view of it. */
  readonly arriving: (edge: Graph.Edge) => Effect.Effect<Value, RunError<E>>
  readonly count: { cached: number; executed: number }
}

interface Task extends Job {
  readonly keyed: Keys.Keyed
  readonly known: Option.Option<Inputs>
}

const look = <E>(run: Progress<E>, node: PreparedNode, job: Job): Effect.Effect<Task, RunError<E>, Store> =>
  Effect.gen(function* () {
    const keyed = yield* run.keys.keyed(node, job.inputs)
    const warn = (detail: string) =>
      Effect.ignore(
        run.journal.tell({ _tag: "Warning", node: node.name, detail: `${detail}; it is computed again` })
      )
    const known = yield* lookUp(node, keyed.key, warn)
    if (Option.isSome(known)) {
      const at = { node: node.name, ...(job.shard === undefined ? {} : { shard: job.shard }) }
      yield* run.journal.tell({ _tag: "TaskCached", ...at, key: keyed.key, outputs: known.value })
      run.count.cached++
    }
    return { ...job, keyed, known }
  })

const settle = <E>(
  run: Progress<E>,
  node: PreparedNode,
  { known, keyed, inputs, shard }: Task
): Effect.Effect<Inputs, RunError<E>, Store> =>
  Option.match(known, {
    onSome: Effect.succeed,
    onNone: () =>
      Effect.map(run.slots.take(node)(execute(run, node, keyed, inputs, shard)), ({ cached, outputs }) => {
        run.count[cached ? "cached" : "executed"]++
        return outputs
      })
  })

const arriving = <E>(
  { byNode }: Prepared,
  outcomes: ReadonlyMap<Graph.Node, Outcome>,
  run: string
): Effect.Effect<Progress<E>["arriving"], never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const shared = yield* Effect.cachedFunction((edge: Graph.Edge): Effect.Effect<Value, RunError<E>> =>
      Effect.gen(function* () {
        const [producer, outcome] = [byNode.get(edge.node), outcomes.get(edge.node)]
        if (producer === undefined || outcome === undefined)
          return yield* Effect.dieMessage("a node ran before its inputs were there")
        const value = yield* view({ run, mode: "compute" }, producer, outcome, edge)
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
    const adopted = adopt(prepared)
    if (adopted !== undefined) {
      const outputs = yield* adopted
      for (const { digest } of Object.values(outputs)) {
        yield* run.journal.tell({ _tag: "TaskCached", node: name, key: digest, outputs })
        run.count.cached++
      }
      run.outcomes.set(node, { _tag: "One", outputs })
      return
    }
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
    // All lookups before the first execution: what is there is told at once.
    const tasks = yield* Effect.forEach(todo, (job) => look(run, prepared, job), { concurrency: LOOKUPS })
    const done = yield* Effect.forEach(tasks, (task) => settle(run, prepared, task), {
      concurrency: run.slots.cores
    })
    const [only] = done
    run.outcomes.set(
      node,
      node.each || only === undefined
        ? { _tag: "Many", shards: done.map((outputs, i) => ({ shard: todo[i]?.shard ?? "", outputs })) }
        : { _tag: "One", outputs: only }
    )
  })

const runAll = <E>(run: Progress<E>): Effect.Effect<void, RunError<E>, Store> =>
  Effect.flatMap(Store, (store) =>
    visitAll(
      run.prepared.nodes,
      ({ node }) =>
        Object.values(node.inputs).flatMap(({ node: producer }) => run.prepared.byNode.get(producer) ?? []),
      NODES,
      (node) => Effect.provideService(runNode(run, node), Store, store)
    )
  )

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
    const heard = yield* Effect.flatMap(Store, (store) => Scope.extend(store.warnings, scope))
    yield* Effect.forkIn(
      Stream.runForEach(heard, (detail) => Effect.ignore(journal.tell({ _tag: "Warning", detail }))),
      scope
    )
    const services = yield* Services.make(pipeline, scope)
    const outcomes = new Map<Graph.Node, Outcome>()
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
        Effect.zipRight(runAll(run)),
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
