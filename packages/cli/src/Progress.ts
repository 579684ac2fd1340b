/**
 * The state of a run, folded from its events: what each node has done and how fast.
 */
import type { RunEvent } from "@tessera/engine"

/** One execution that is under way. */
export interface RunningTask {
  readonly since: number
  readonly done: number
  readonly total: number | undefined
  readonly unit: string
  readonly label: string | undefined
  /** The first report: rates are measured from it, so that loading a model does not count as slow work. */
  readonly first: { readonly at: number; readonly done: number } | undefined
}

export interface NodeProgress {
  readonly node: string
  /** `skipped`: for want of what failed before it, where the run goes on. */
  readonly status: "waiting" | "running" | "done" | "failed" | "skipped"
  /** Undefined until the node learns it, and for a node that is not sharded. */
  readonly shards: number | undefined
  readonly executed: number
  readonly cached: number
  readonly since: number | undefined
  /** Milliseconds of the executions committed so far. */
  readonly millis: number
  readonly running: ReadonlyMap<string, RunningTask>
}

export interface RunProgress {
  readonly nodes: ReadonlyMap<string, NodeProgress>
}

export const empty: RunProgress = { nodes: new Map() }

const waiting = (node: string): NodeProgress => ({
  node,
  status: "waiting",
  shards: undefined,
  executed: 0,
  cached: 0,
  since: undefined,
  millis: 0,
  running: new Map()
})

const whole = "whole"

const update = (
  state: RunProgress,
  node: string,
  change: (node: NodeProgress) => NodeProgress
): RunProgress => {
  const nodes = new Map(state.nodes)
  nodes.set(node, change(nodes.get(node) ?? waiting(node)))
  return { nodes }
}

const without = (running: ReadonlyMap<string, RunningTask>, shard: string | undefined) => {
  const rest = new Map(running)
  rest.delete(shard ?? whole)
  return rest
}

/** `done` once every task is; a sharded node that does not know its shards yet is still running. */
const settle = (node: NodeProgress, shard: string | undefined): NodeProgress => {
  const tasks = node.executed + node.cached
  const finished = shard === undefined ? tasks > 0 : node.shards !== undefined && tasks >= node.shards
  return { ...node, status: finished ? "done" : "running" }
}

/** @param now milliseconds since the epoch, when the event was heard */
export const step = (state: RunProgress, event: RunEvent, now: number): RunProgress => {
  switch (event._tag) {
    case "RunStarted":
      return { nodes: new Map(event.nodes.map((node) => [node, waiting(node)])) }
    case "NodeSharded":
      return update(state, event.node, (node) => ({
        ...node,
        shards: event.shards.length,
        since: node.since ?? now,
        status: event.shards.length === 0 ? "done" : "running"
      }))
    case "TaskCached":
      return update(state, event.node, (node) =>
        settle({ ...node, cached: node.cached + 1, since: node.since ?? now }, event.shard)
      )
    case "TaskStarted":
      return update(state, event.node, (node) => ({
        ...node,
        status: "running",
        since: node.since ?? now,
        running: new Map(node.running).set(event.shard ?? whole, {
          since: now,
          done: 0,
          total: undefined,
          unit: "",
          label: undefined,
          first: undefined
        })
      }))
    case "TaskProgress":
      return update(state, event.node, (node) => {
        const before = node.running.get(event.shard ?? whole)
        return {
          ...node,
          running: new Map(node.running).set(event.shard ?? whole, {
            since: before?.since ?? now,
            done: event.done,
            total: event.total,
            unit: event.unit,
            label: event.label,
            first: before?.first ?? { at: now, done: event.done }
          })
        }
      })
    case "TaskCommitted":
      return update(state, event.node, (node) =>
        settle(
          {
            ...node,
            executed: node.executed + 1,
            millis: node.millis + event.millis,
            running: without(node.running, event.shard)
          },
          event.shard
        )
      )
    case "TaskRetried":
      return update(state, event.node, (node) => ({
        ...node,
        running: without(node.running, event.shard)
      }))
    case "NodeSkipped":
      return update(state, event.node, (node) => ({ ...node, status: "skipped" }))
    case "TaskFailed":
      return update(state, event.node, (node) => ({
        ...node,
        status: "failed",
        running: without(node.running, event.shard)
      }))
    case "Warning":
    case "RunFinished":
      return state
  }
}

/** How far a node is: counted in shards where it has them, else in what its stage counts. */
export interface Measure {
  readonly done: number
  readonly total: number | undefined
  readonly unit: string
  readonly label: string | undefined
  /** Units per second; undefined until it can be told. */
  readonly rate: number | undefined
  /** Milliseconds. */
  readonly left: number | undefined
}

const share = (task: RunningTask) =>
  task.total === undefined || task.total <= 0 ? 0 : Math.min(1, task.done / task.total)

const timeLeft = (remaining: number, rate: number | undefined) =>
  rate === undefined || rate <= 0 ? undefined : (remaining / rate) * 1000

export const measure = (node: NodeProgress, now: number): Measure | undefined => {
  const tasks = [...node.running.values()]
  const latest = tasks.at(-1)
  if (node.shards !== undefined) {
    const partly = tasks.reduce((sum, task) => sum + share(task), 0)
    const seconds = (now - (node.since ?? now)) / 1000
    // Cached shards take no time, so they say nothing about the time left.
    const worked = node.executed + partly
    const rate = worked > 0 && seconds > 0.5 ? worked / seconds : undefined
    const done = node.executed + node.cached
    return {
      done,
      total: node.shards,
      unit: "shards",
      label: latest === undefined || latest.unit === "" ? undefined : taskText(latest),
      rate,
      left: timeLeft(node.shards - done - partly, rate)
    }
  }
  if (latest === undefined || latest.unit === "") return undefined
  const seconds = latest.first === undefined ? 0 : (now - latest.first.at) / 1000
  const worked = latest.first === undefined ? 0 : latest.done - latest.first.done
  const rate = worked > 0 && seconds > 0.5 ? worked / seconds : undefined
  return {
    done: latest.done,
    total: latest.total,
    unit: latest.unit,
    label: latest.label,
    rate,
    left: latest.total === undefined ? undefined : timeLeft(latest.total - latest.done, rate)
  }
}

const taskText = ({ done, total, unit, label }: RunningTask): string =>
  [label, `${done}${total === undefined ? "" : `/${total}`} ${unit}`]
    .filter((text) => text !== undefined)
    .join(" ")

export const totals = (state: RunProgress) => {
  const nodes = [...state.nodes.values()]
  return {
    nodes: nodes.length,
    done: nodes.filter(({ status }) => status === "done").length,
    executed: nodes.reduce((sum, node) => sum + node.executed, 0),
    cached: nodes.reduce((sum, node) => sum + node.cached, 0)
  }
}
