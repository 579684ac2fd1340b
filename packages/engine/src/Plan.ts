/**
 * What a run would do, found without executing any stage.
 */
import { type Graph, GraphError, type Pipeline, type Targets } from "@tessera/core"
import { Store, type Action } from "@tessera/store"
import { Effect, Option, Scope, Struct } from "effect"
import { adopt } from "./Adopt.js"
import type { Explanation, PlannedNode, RunOptions } from "./Engine.js"
import { EngineError } from "./Errors.js"
import type { Failure } from "./Executor.js"
import * as History from "./History.js"
import * as Keys from "./Keys.js"
import { prepare, suggestion, type Prepared, type PreparedNode } from "./Prepare.js"
import * as Services from "./Services.js"
import { jobs, view, type Outcome, type Value } from "./Views.js"

/** One execution, and its stored result where there is one. */
export interface Task {
  readonly shard?: string
  readonly inputs: Keys.Inputs
  readonly keyed: Keys.Keyed
  readonly action: Option.Option<Action>
}

export interface Surveyed {
  readonly prepared: PreparedNode
  /** Producers whose results are not there, so that nothing can be keyed yet. */
  readonly waitsFor: ReadonlyArray<string>
  readonly tasks: ReadonlyArray<Task>
  /** The content of a source. */
  readonly adopted?: Keys.Inputs
}

export interface Survey<E> {
  readonly pipeline: string
  readonly services: Services.Services<E>
  /** What earlier runs did with these nodes. */
  readonly history: History.History
  readonly nodes: ReadonlyArray<Surveyed>
}

/** The reason of what never ran. */
const NEW = "never ran"
const LOOK = { run: "", mode: "look" } as const
/** Lookups of results at once: they wait for the disk, not for a core. */
const LOOKUPS = 16

/** Nodes that need none of each other, after those that they need. */
const levels = ({ byNode, nodes }: Prepared): ReadonlyArray<ReadonlyArray<PreparedNode>> => {
  const depths = new Map<PreparedNode, number>()
  const all: Array<Array<PreparedNode>> = []
  for (const node of nodes) {
    const needed = Object.values(node.node.inputs).flatMap((edge) => byNode.get(edge.node) ?? [])
    const depth = needed.reduce((most, one) => Math.max(most, (depths.get(one) ?? 0) + 1), 0)
    depths.set(node, depth)
    ;(all[depth] ??= []).push(node)
  }
  return all
}

/** A level in as many parts as are looked up at once: a fiber for each node costs more than its lookup. */
const strands = <A>(level: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.min(level.length, LOOKUPS) }, (_, i) =>
    level.filter((_, at) => at % LOOKUPS === i)
  )

const surveyNode = <E>(
  prepared: PreparedNode,
  byNode: ReadonlyMap<Graph.Node, PreparedNode>,
  outcomes: ReadonlyMap<Graph.Node, Outcome>,
  keys: Keys.Keys<E>
): Effect.Effect<Surveyed, Failure<E>, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const { node } = prepared
    const adopted = adopt(prepared)
    if (adopted !== undefined) return { prepared, waitsFor: [], tasks: [], adopted: yield* adopted }
    const waitsFor = new Set<string>()
    const values: Record<string, Value> = {}
    for (const [port, edge] of Object.entries(node.inputs)) {
      const [producer, outcome] = [byNode.get(edge.node), outcomes.get(edge.node)]
      if (producer === undefined) return yield* Effect.dieMessage("an edge leaves the graph")
      const value = outcome === undefined ? Option.none() : yield* view(LOOK, producer, outcome, edge)
      if (Option.isNone(value)) waitsFor.add(producer.name)
      else values[port] = value.value
    }
    if (waitsFor.size > 0) return { prepared, waitsFor: [...waitsFor], tasks: [] }
    const todo = yield* jobs(prepared, values)
    const tasks = yield* Effect.forEach(
      todo,
      ({ shard, inputs }) =>
        Effect.gen(function* () {
          const keyed = yield* keys.keyed(prepared, inputs)
          const action =
            node.stage.spec.reproducible === "no" ? Option.none<Action>() : yield* store.getAction(keyed.key)
          return { ...(shard === undefined ? {} : { shard }), inputs, keyed, action }
        }),
      // No fiber is forked for a single one.
      { concurrency: Math.min(todo.length, LOOKUPS) }
    )
    return { prepared, waitsFor: [], tasks }
  })

/** The outcome of a node all of whose tasks are cached. */
const outcomeOf = ({ prepared, waitsFor, tasks, adopted }: Surveyed): Outcome | undefined => {
  if (adopted !== undefined) return { _tag: "One", outputs: adopted }
  if (waitsFor.length > 0) return undefined
  const shards: Array<{ shard: string; outputs: Keys.Inputs }> = []
  for (const { shard = "", action } of tasks) {
    if (Option.isNone(action)) return undefined
    shards.push({ shard, outputs: action.value.outputs })
  }
  const [only] = shards
  return prepared.node.each || only === undefined
    ? { _tag: "Many", shards }
    : { _tag: "One", outputs: only.outputs }
}

/** Every node with its executions, found without running any. */
export const survey = <T extends Targets, E, R, A>(
  pipeline: Pipeline<T, E, R>,
  options: RunOptions,
  use: (survey: Survey<E>) => Effect.Effect<A, Failure<E>, Store>
): Effect.Effect<A, Failure<E>, R | Store> =>
  Effect.flatMap(prepare(pipeline, options), (prepared) =>
    Effect.acquireUseRelease(
      Scope.make(),
      (scope) =>
        Effect.gen(function* () {
          const services = yield* Services.make(pipeline, scope)
          const keys = yield* Keys.make(prepared.nodes, services)
          const outcomes = new Map<Graph.Node, Outcome>()
          const surveyed = new Map<PreparedNode, Surveyed>()
          const surveyOne = (node: PreparedNode) =>
            Effect.map(surveyNode(node, prepared.byNode, outcomes, keys), (found) => {
              const outcome = outcomeOf(found)
              if (outcome !== undefined) outcomes.set(node.node, outcome)
              surveyed.set(node, found)
            })
          for (const level of levels(prepared)) {
            const all = strands(level)
            yield* Effect.forEach(all, (strand) => Effect.forEach(strand, surveyOne, { discard: true }), {
              concurrency: all.length,
              discard: true
            })
          }
          const history = yield* History.make(prepared.pipeline, undefined, {
            nodes: prepared.nodes,
            keyed: keys.of
          })
          const nodes = prepared.nodes.flatMap((node) => surveyed.get(node) ?? [])
          return yield* use({ pipeline: prepared.pipeline, services, history, nodes })
        }),
      (scope, exit) => Scope.close(scope, exit)
    )
  )

const planned = (
  { prepared: { name, node }, waitsFor, tasks, adopted }: Surveyed,
  history: History.History,
  before: ReadonlyMap<string, Planned>
): Effect.Effect<Planned, Failure<never>, Store> =>
  Effect.gen(function* () {
    const base = { node: name, stage: node.stage.id }
    if (adopted !== undefined)
      return { ...base, status: "cached", reason: "a source; its content decides keys" }
    if (waitsFor.length > 0) return { ...base, status: "unknown", ...waiting(waitsFor, before) }
    const missing = tasks.filter(({ action }) => Option.isNone(action))
    const [first] = missing
    const [only] = tasks
    const detail = node.each
      ? { shards: { total: tasks.length, cached: tasks.length - missing.length } }
      : only === undefined
        ? {}
        : { key: only.keyed.key }
    if (first === undefined) return { ...base, ...detail, status: "cached", reason: "cached" }
    const at = { node: name, ...(first.shard === undefined ? {} : { shard: first.shard }) }
    const reason =
      node.stage.spec.reproducible === "no"
        ? "not reproducible, so always computed"
        : (yield* history.why(at, first.keyed)).reason
    return { ...base, ...detail, status: missing.length < tasks.length ? "partial" : "run", reason }
  })

interface Planned extends PlannedNode {
  /** Of a node that waits: the first node upstream that would run. */
  readonly root?: Planned
}

/** What a node waits for, and why that would run: the reason at the far end, where it is more than being new. */
const waiting = (
  waitsFor: ReadonlyArray<string>,
  before: ReadonlyMap<string, Planned>
): Pick<Planned, "reason" | "root"> => {
  const producers = waitsFor.flatMap((name) => before.get(name) ?? [])
  const roots = producers.flatMap((producer) =>
    producer.status === "unknown" ? (producer.root ?? []) : producer.status === "cached" ? [] : producer
  )
  const root = roots.find(({ reason }) => reason !== NEW) ?? roots[0]
  const names = `waits for ${waitsFor.join(", ")}`
  if (root === undefined) return { reason: names }
  const behind = waitsFor.includes(root.node) ? "" : `, behind ${root.node}`
  return { root, reason: root.reason === NEW ? names : `${names}${behind} (${root.reason})` }
}

/** What would run and why, in the order of the graph. */
export const plan = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  options: RunOptions = {}
): Effect.Effect<ReadonlyArray<PlannedNode>, Failure<E>, R | Store> =>
  survey(pipeline, options, ({ history, nodes }) =>
    Effect.gen(function* () {
      const done = new Map<string, Planned>()
      for (const node of nodes) done.set(node.prepared.name, yield* planned(node, history, done))
      return [...done.values()].map(Struct.omit("root"))
    })
  )

/**
 * The manifest of a node, and what differs from its last execution.
 *
 * @param node its name; `name[shard]` for a shard, of which the first one to compute is taken otherwise.
 */
export const explain = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  node: string,
  options: RunOptions = {}
): Effect.Effect<Explanation, Failure<E>, R | Store> =>
  survey(pipeline, options, (surveyed) =>
    Effect.gen(function* () {
      const [, name = node, wanted] = /^(.*?)(?:\[(.*)\])?$/s.exec(node) ?? []
      const found = surveyed.nodes.find(({ prepared }) => prepared.name === name)
      if (found === undefined) {
        const names = surveyed.nodes.map(({ prepared }) => prepared.name)
        return yield* new GraphError({
          reason: "UnknownNode",
          where: `pipeline ${surveyed.pipeline}`,
          detail: `there is no node ${name}${suggestion(name, names)}`
        })
      }
      if (found.waitsFor.length > 0) {
        return yield* new EngineError({
          reason: "Unknown",
          where: name,
          detail: `its key depends on ${found.waitsFor.join(", ")}, not computed yet; explain that, or run first`
        })
      }
      const task =
        wanted === undefined
          ? (found.tasks.find(({ action }) => Option.isNone(action)) ?? found.tasks[0])
          : found.tasks.find(({ shard }) => shard === wanted)
      if (task === undefined) {
        const shards = found.tasks.flatMap(({ shard }) => (shard === undefined ? [] : [shard]))
        return yield* new GraphError({
          reason: "UnknownNode",
          where: name,
          detail:
            found.adopted !== undefined
              ? "is a source: it is not computed, its content is part of the keys of what reads it"
              : wanted === undefined
                ? "it has no shards"
                : `there is no shard ${wanted}${suggestion(wanted, shards)}`
        })
      }
      const { history } = surveyed
      const shard = task.shard === undefined ? {} : { shard: task.shard }
      const why = yield* history.why({ node: name, ...shard }, task.keyed)
      const cached = Option.isSome(task.action)
      const accepted = Option.getOrUndefined(task.action)?.accepted
      return {
        node: name,
        ...shard,
        manifest: task.keyed.manifest,
        key: task.keyed.key,
        cached,
        ...(accepted === undefined ? {} : { accepted }),
        ...(Option.isSome(why.previous) ? { previous: why.previous.value } : {}),
        differences: why.differences,
        reason: cached ? "cached" : why.reason
      }
    })
  )
