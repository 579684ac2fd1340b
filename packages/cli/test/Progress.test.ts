import type { RunEvent } from "@tessera/engine"
import { describe, expect, it } from "vitest"
import * as Progress from "../src/Progress.js"
import * as ProgressView from "../src/ProgressView.js"
import * as Style from "../src/Style.js"

type Without<E> = E extends RunEvent ? Omit<E, "at"> : never

const at = "2026-01-01T00:00:00.000Z"
const fold = (...events: ReadonlyArray<readonly [now: number, event: Without<RunEvent>]>) =>
  events.reduce((state, [now, event]) => Progress.step(state, { at, ...event }, now), Progress.empty)
const started = [
  0,
  { _tag: "RunStarted", run: "r", pipeline: "p", params: {}, nodes: ["corpus", "profile"] }
] as const satisfies readonly [number, Without<RunEvent>]
const begin = (node: string, shard?: string) =>
  ({
    _tag: "TaskStarted",
    node,
    key: "k",
    reason: "never ran",
    ...(shard === undefined ? {} : { shard })
  }) as const
const commit = (node: string, shard?: string) =>
  ({
    _tag: "TaskCommitted",
    node,
    key: "k",
    millis: 500,
    outputs: {},
    ...(shard === undefined ? {} : { shard })
  }) as const
const cached = (node: string, shard?: string) =>
  ({ _tag: "TaskCached", node, key: "k", outputs: {}, ...(shard === undefined ? {} : { shard }) }) as const
const sharded = (node: string, shards: ReadonlyArray<string>) =>
  ({ _tag: "NodeSharded", node, shards }) as const

const node = (state: Progress.RunProgress, name: string) => {
  const found = state.nodes.get(name)
  if (found === undefined) throw new Error(`no node ${name}`)
  return found
}

describe("step", () => {
  it("counts a node as done when its only task is, and a sharded one when all its shards are", () => {
    const state = fold(
      started,
      [1, cached("corpus")],
      [2, sharded("profile", ["a", "b"])],
      [3, begin("profile", "a")],
      [4, commit("profile", "a")]
    )
    expect(node(state, "corpus").status).toBe("done")
    expect(node(state, "profile").status).toBe("running")
    const later = Progress.step(state, { at, ...cached("profile", "b") }, 5)
    expect(node(later, "profile").status).toBe("done")
    expect(Progress.totals(later)).toEqual({ nodes: 2, done: 2, executed: 1, cached: 2 })
  })

  it("counts a node with no shards as done", () => {
    expect(node(fold(started, [1, sharded("profile", [])]), "profile").status).toBe("done")
  })
})

describe("measure", () => {
  it("gives rate and time left from the first report on", () => {
    const state = fold(
      started,
      [0, begin("corpus")],
      [9000, { _tag: "TaskProgress", node: "corpus", done: 0, total: 10, unit: "items" }],
      [11000, { _tag: "TaskProgress", node: "corpus", done: 4, total: 10, unit: "items", label: "item 4" }]
    )
    expect(Progress.measure(node(state, "corpus"), 11000)).toEqual({
      done: 4,
      total: 10,
      unit: "items",
      label: "item 4",
      rate: 2,
      left: 3000
    })
  })

  it("counts shards, half-done ones by their share, and takes cached ones as no work", () => {
    const state = fold(
      started,
      [0, sharded("profile", ["a", "b", "c", "d"])],
      [0, cached("profile", "a")],
      [0, begin("profile", "b")],
      [2000, commit("profile", "b")],
      [2000, begin("profile", "c")],
      [3000, { _tag: "TaskProgress", node: "profile", shard: "c", done: 1, total: 2, unit: "layers" }]
    )
    // 1.5 shards of work in 3 s, and 1.5 to go.
    expect(Progress.measure(node(state, "profile"), 3000)).toEqual({
      done: 2,
      total: 4,
      unit: "shards",
      label: "1/2 layers",
      rate: 0.5,
      left: 3000
    })
  })
})

describe("region", () => {
  const screen = { columns: () => 60, rows: () => 6, style: Style.none }

  it("shows each running node with its rate and time left, then the totals", () => {
    const state = fold(
      started,
      [0, begin("corpus")],
      [0, { _tag: "TaskProgress", node: "corpus", done: 0, total: 8, unit: "items" }],
      [2000, { _tag: "TaskProgress", node: "corpus", done: 4, total: 8, unit: "items" }]
    )
    const [line, total] = ProgressView.region(state, 2000, 0, { ...screen, columns: () => 100 })
    expect(line).toMatch(/^\S corpus {2}█{8}░{8} {2}4\/8 items · 2 items\/s · 2\.0 s left$/)
    expect(total).toBe("  0/2 stages · 0 cached · 0 executed · 2.0 s")
  })

  it("is never wider or taller than the screen", () => {
    const nodes = Array.from({ length: 20 }, (_, i) => `a-node-with-a-long-name-${i}`)
    const state = nodes.reduce(
      (state, name) => Progress.step(state, { at, ...begin(name) }, 0),
      Progress.step(Progress.empty, { at, _tag: "RunStarted", run: "r", pipeline: "p", params: {}, nodes }, 0)
    )
    const lines = ProgressView.region(state, 1000, 0, { ...screen, columns: () => 24 })
    expect(lines.length).toBeLessThan(6)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(24)
    expect(ProgressView.region(state, 1000, 0, screen).at(-1)).toContain("17 more running")
  })
})
