/**
 * Runs a pipeline: every node as soon as its inputs are there, as many side by side as the machine lends.
 */
import type { AnyStage, Graph, GraphError, Pipeline, Resources, Targets } from "@tessera/core"
import { Store, type Artifact } from "@tessera/store"
import { Cause, Duration, Effect, Option, Scope, Stream } from "effect"
import { adopt } from "./Adopt.js"
import * as Arriving from "./Arriving.js"
import { at } from "./Commit.js"
import * as Devices from "./Devices.js"
import type { RunOptions, RunResult } from "./Engine.js"
import { RunFailed, StageFailed } from "./Errors.js"
import { execute, lookUp, type Context } from "./Execute.js"
import type { Executor, Failure } from "./Executor.js"
import * as Executors from "./Executors.js"
import { visitAll } from "./Frontier.js"
import * as History from "./History.js"
import * as Journal from "./Journal.js"
import * as Keys from "./Keys.js"
import type { Inputs } from "./Keys.js"
import * as Losses from "./Losses.js"
import * as Machine from "./Machine.js"
import { prepare, type Prepared, type PreparedNode } from "./Prepare.js"
import * as Priority from "./Priority.js"
import * as Restore from "./Restore.js"
import { retried } from "./Retry.js"
import * as RunTime from "./RunTime.js"
import * as Services from "./Services.js"
import * as Slots from "./Slots.js"
import { jobs, type Job, type Outcome } from "./Views.js"

/** Everything a run can fail with. `StageFailed` carries what the stages fail with. */
export type RunError<E> = Failure<E> | RunFailed<E>

/** Lookups of results at once: they wait for the disk, not for a core. */
const LOOKUPS = 16
/** Nodes, and shards of a node, at once; most of them wait for a core. More fibers than this cost more than they gain. */
const WAITING = 64

interface Progress<E> extends Context<E> {
  readonly time: RunTime.RunTime
  readonly prepared: Prepared
  readonly keys: Keys.Keys<E>
  readonly slots: Slots.Slots
  /** Taken when the first task must wait for slots: a run that is all cached needs no order. */
  readonly priorities: Effect.Effect<ReadonlyMap<Graph.Node, number>>
  readonly executors: ReadonlyMap<Graph.Node, Executor>
  readonly options: RunOptions
  readonly outcomes: Map<Graph.Node, Outcome>
  readonly losses: Losses.Losses<E>
  readonly arriving: Arriving.Arriving<E>
  readonly count: { cached: number; executed: number }
}

interface Task extends Job {
  readonly keyed: Keys.Keyed
  readonly known: Option.Option<Inputs>
}

const look = <E>(run: Progress<E>, node: PreparedNode, job: Job): Effect.Effect<Task, Failure<E>, Store> =>
  Effect.gen(function* () {
    const keyed = yield* run.keys.keyed(node, job.inputs)
    const warn = (detail: string) =>
      Effect.ignore(
        run.journal.tell({ _tag: "Warning", node: node.name, detail: `${detail}; it is computed again` })
      )
    const known = yield* lookUp(node, keyed.key, warn)
    if (Option.isSome(known)) {
      yield* run.journal.tell({
        _tag: "TaskCached",
        ...at(node.name, job.shard),
        key: keyed.key,
        outputs: known.value
      })
      run.count.cached++
    }
    return { ...job, keyed, known }
  })

const restoring = <E>(run: Progress<E>): Restore.Restoring<E> => ({
  run: run.journal.run,
  byNode: run.prepared.byNode,
  outcomes: run.outcomes,
  recompute: (node) => recompute(run, node)
})

const arriving = <E>(run: Progress<E>, edge: Graph.Edge) =>
  Restore.arriving(restoring(run), edge, run.arriving(edge))

const jobsOf = <E>(run: Progress<E>, prepared: PreparedNode) =>
  Effect.gen(function* () {
    const inputs = Object.entries(prepared.node.inputs)
    const values = yield* Effect.all(
      Object.fromEntries(inputs.map(([port, edge]) => [port, arriving(run, edge)]))
    )
    return yield* jobs(prepared, run.losses.without(prepared, values))
  })

/** What counted as cached and turned out to be lost is executed after all. */
const recompute = <E>(run: Progress<E>, prepared: PreparedNode): Effect.Effect<void, Failure<E>, Store> =>
  Effect.gen(function* () {
    const todo = yield* jobsOf(run, prepared)
    const again = (job: Job) =>
      Effect.gen(function* () {
        const keyed = yield* run.keys.keyed(prepared, job.inputs)
        const known = yield* lookUp(prepared, keyed.key)
        if (Option.isSome(known)) return
        run.count.cached--
        yield* compute(run, prepared, { ...job, keyed, known })
      })
    yield* Effect.forEach(todo, again, { concurrency: WAITING, discard: true })
  })

/** What the stage says it needs, or a service says for it. */
const resourcesOf = <E>(
  { services }: Progress<E>,
  node: string,
  { spec: { resources } }: AnyStage
): Effect.Effect<Resources | undefined, StageFailed<E>> =>
  Effect.isEffect(resources)
    ? services.lend(
        { node },
        Effect.mapError(resources, (cause) => new StageFailed<E>({ node, cause }))
      )
    : Effect.succeed(resources)

/** Waits for inputs, then for slots, then for the key; gives the last two back between attempts. */
const compute = <E>(
  run: Progress<E>,
  prepared: PreparedNode,
  { inputs, keyed, shard }: Task
): Effect.Effect<Inputs, Failure<E>, Store> =>
  Effect.gen(function* () {
    const { node } = prepared
    const place = at(prepared.name, shard)
    yield* Restore.inputs(restoring(run), prepared, inputs)
    const resources = yield* resourcesOf(run, prepared.name, node.stage)
    const wanted = yield* Slots.wanted(prepared.name, resources, run.slots.capacity)
    const priority = (yield* run.priorities).get(node) ?? 0
    const executor = run.executors.get(node) ?? Executors.inline
    const execution = { prepared, keyed, inputs, at: place, executor }
    const attempt = Effect.scoped(
      run.slots.take(wanted, priority).pipe(
        Effect.flatMap((granted) =>
          Devices.between(granted, run.slots.capacity, (detail) =>
            Effect.ignore(run.journal.tell({ _tag: "Warning", detail }))
          )
        ),
        Effect.flatMap((granted) => execute(run, execution, granted))
      )
    )
    const { cached, outputs } = yield* retried(
      node.stage.spec,
      run.options.retries,
      attempt,
      ({ error, attempt, pause }) =>
        run.journal.tell({
          _tag: "TaskRetried",
          ...place,
          key: keyed.key,
          attempt,
          error: error.message,
          pauseMillis: Math.round(Duration.toMillis(pause))
        })
    )
    run.count[cached ? "cached" : "executed"]++
    return outputs
  }).pipe(
    Effect.tapError((error) =>
      Effect.ignore(
        run.journal.tell({
          _tag: "TaskFailed",
          ...at(prepared.name, shard),
          key: keyed.key,
          error: error.message
        })
      )
    )
  )

/** The outputs of a task; undefined where it failed and the run goes on. */
const settle = <E>(
  run: Progress<E>,
  node: PreparedNode,
  task: Task
): Effect.Effect<Inputs | undefined, Failure<E>, Store> =>
  Option.match(task.known, {
    onSome: Effect.succeed,
    onNone: () =>
      Effect.catchAll(compute(run, node, task), (error) => {
        if (run.options.keepGoing !== true || !Losses.isTaskFailure<E>(error)) return Effect.fail(error)
        run.losses.fail(node, task.shard, error)
        return Effect.succeed(undefined)
      })
  })

const source = <E>(run: Progress<E>, { name, node }: PreparedNode, outputs: Inputs) =>
  Effect.gen(function* () {
    for (const { digest } of Object.values(outputs)) {
      yield* run.journal.tell({ _tag: "TaskCached", node: name, key: digest, outputs })
      run.count.cached++
    }
    run.outcomes.set(node, { _tag: "One", outputs })
  })

const runNode = <E>(run: Progress<E>, prepared: PreparedNode): Effect.Effect<void, Failure<E>, Store> =>
  Effect.gen(function* () {
    const { name, node } = prepared
    const adopted = adopt(prepared)
    if (adopted !== undefined) return yield* source(run, prepared, yield* adopted)
    const { all, because } = run.losses.inherit(prepared)
    if (because.length > 0) yield* run.journal.tell({ _tag: "NodeSkipped", node: name, because })
    if (all) return
    const todo = yield* jobsOf(run, prepared)
    if (node.each) {
      yield* run.journal.tell({
        _tag: "NodeSharded",
        node: name,
        shards: todo.map(({ shard = "" }) => shard)
      })
    }
    // All lookups before the first execution: what is there is told at once. No fiber is forked for a single one.
    const tasks = yield* Effect.forEach(todo, (job) => look(run, prepared, job), {
      concurrency: Math.min(todo.length, LOOKUPS)
    })
    const done = yield* Effect.forEach(tasks, (task) => settle(run, prepared, task), {
      concurrency: Math.min(tasks.length, WAITING)
    })
    const shards = done.flatMap((outputs, i) =>
      outputs === undefined ? [] : [{ shard: todo[i]?.shard ?? "", outputs }]
    )
    const [only] = shards
    if (node.each) run.outcomes.set(node, { _tag: "Many", shards })
    else if (only !== undefined) run.outcomes.set(node, { _tag: "One", outputs: only.outputs })
  })

const runAll = <E>(run: Progress<E>): Effect.Effect<void, Failure<E>, Store> =>
  Effect.flatMap(Store, (store) => {
    const { byNode, nodes } = run.prepared
    const ways = Priority.longestWays(run.prepared, () => 1)
    return visitAll(
      nodes,
      ({ node }) => Object.values(node.inputs).flatMap(({ node: producer }) => byNode.get(producer) ?? []),
      WAITING,
      (node) => Effect.provideService(runNode(run, node), Store, store),
      ({ node }) => ways.get(node) ?? 0
    )
  })

const targetArtifacts = <E>(run: Progress<E>): Effect.Effect<Record<string, Artifact>, Failure<E>, Store> =>
  Effect.gen(function* () {
    const targets: Record<string, Artifact> = {}
    for (const [name, edge] of Object.entries(run.prepared.targets)) {
      if (!run.losses.whole(edge)) continue
      const value = yield* arriving(run, edge)
      yield* Restore.target(restoring(run), edge, value)
      if (value._tag === "One") targets[name] = value.artifact
      else for (const { shard, artifact } of value.shards) targets[`${name}/${shard}`] = artifact
    }
    return targets
  })

/** What the store warns of while the run goes on becomes events of the run. */
const hearWarnings = (journal: Journal.Journal, scope: Scope.Scope) =>
  Effect.gen(function* () {
    const store = yield* Store
    const warnings = yield* Scope.extend(store.warnings, scope)
    yield* Effect.forkIn(
      Stream.runForEach(warnings, (detail) => Effect.ignore(journal.tell({ _tag: "Warning", detail }))),
      scope
    )
  })

const start = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  prepared: Prepared,
  options: RunOptions,
  scope: Scope.Scope
): Effect.Effect<Progress<E>, GraphError, R | Store> =>
  Effect.gen(function* () {
    const executors = yield* Executors.choose(prepared.nodes, options)
    const time = yield* RunTime.make
    const journal = yield* Journal.make(time.run, options.onEvent)
    // Where it cannot be written nothing of the run is, and nobody can follow it.
    yield* Effect.ignore(Scope.extend((yield* Store).attend(time.run), scope))
    yield* hearWarnings(journal, scope)
    const services = yield* Services.make(pipeline, scope)
    const outcomes = new Map<Graph.Node, Outcome>()
    const store = yield* Store
    const keys = yield* Keys.make(prepared.nodes, services)
    return {
      prepared,
      options,
      journal,
      time,
      services,
      executors,
      outcomes,
      origin:
        options.module === undefined
          ? undefined
          : { module: options.module, params: options.params ?? {}, set: options.set ?? {} },
      losses: Losses.make<E>(prepared.byNode),
      arriving: yield* Arriving.make<E>(prepared, outcomes, journal.run),
      keys,
      history: yield* History.make(prepared.pipeline, journal.run, {
        nodes: prepared.nodes,
        keyed: keys.of
      }),
      remembered: new Set(),
      slots: Slots.make(yield* Machine.capacity(options)),
      priorities: yield* Effect.cached(
        Effect.provideService(Priority.make(prepared, journal.run), Store, store)
      ),
      count: { cached: 0, executed: 0 }
    }
  })

const attempt = <E>(run: Progress<E>): Effect.Effect<RunResult, RunError<E>, Store> =>
  Effect.gen(function* () {
    const { journal, losses, options, prepared, time } = run
    const warn = Option.match({
      onNone: () => Effect.void,
      onSome: (detail: string) => journal.tell({ _tag: "Warning", detail })
    })
    const finish = (outcome: "succeeded" | "failed" | "interrupted", targets: Record<string, Artifact>) =>
      Effect.gen(function* () {
        yield* warn(yield* time.setBack)
        const millis = yield* time.millis
        yield* journal.tell({ _tag: "RunFinished", run: journal.run, outcome, millis, targets })
      })
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
        Effect.zipRight(warn(time.behind)),
        Effect.zipRight(runAll(run)),
        Effect.zipRight(targetArtifacts(run)),
        // A failed run keeps its own error, even where its log can no longer be written.
        Effect.onError((cause) =>
          Effect.ignore(finish(Cause.isInterruptedOnly(cause) ? "interrupted" : "failed", {}))
        )
      )
    const { failures, skipped } = losses
    yield* finish(failures.length === 0 ? "succeeded" : "failed", targets)
    return failures.length === 0
      ? { run: journal.run, targets, ...run.count }
      : yield* new RunFailed<E>({ run: journal.run, failures, skipped: [...skipped] })
  }).pipe(
    Effect.withSpan("tessera.run", {
      attributes: { "tessera.pipeline": run.prepared.pipeline, "tessera.run": run.journal.run }
    })
  )

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
      (scope) => Effect.flatMap(start(pipeline, prepared, options, scope), attempt),
      (scope, exit) => Scope.close(scope, exit)
    )
  )
