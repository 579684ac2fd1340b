import { Influence, ItemInfluence, Model } from "@tessera/attention"
import { source } from "@tessera/core"
import { demoModelPath } from "@tessera/demo"
import { reduceInfluence } from "@tessera/profiler-gradient"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { given } from "@tessera/testing"
import { rowsOf } from "./harness.js"

const model = source(Model, demoModelPath)
const item = (name: string, window: ReadonlyArray<number>, head = 0, block = 16) => ({
  item: name,
  length: 32,
  layer: 0,
  head,
  block,
  sink: 0,
  window,
  blocks: []
})

const reduced = (items: ReadonlyArray<ReturnType<typeof item>>, over: "mean" | "rms") =>
  rowsOf(Influence, reduceInfluence({ items: given(ItemInfluence, items), model }, { over }).influence)

describe("the influence of many items", () => {
  it("is their mean, or their root mean square, head by head", async () => {
    const items = [item("a", [3, 1, 0]), item("b", [1, -1, 0]), item("a", [5, 2, 0], 1)]
    const mean = await Effect.runPromise(reduced(items, "mean"))
    expect(mean.map(({ head, items, window }) => [head, items, window])).toEqual([
      [0, 2, [2, 0, 0]],
      [1, 1, [5, 2, 0]]
    ])
    const rms = await Effect.runPromise(reduced(items, "rms"))
    expect(rms.map(({ window }) => window)).toEqual([
      [Math.sqrt(5), 1, 0],
      [5, 2, 0]
    ])
  })

  it("loses nothing at windows as long as a shorter item", async () => {
    const [row] = await Effect.runPromise(reduced([item("a", [4, 2, 0]), item("short", [2, 0])], "mean"))
    expect(row?.window).toEqual([3, 1, 0])
  })

  it.each([
    ["of different blocks", [item("a", [3, 1, 0]), item("b", [1, 0], 0, 32)], /different blocks/],
    ["with a loss that is no number", [item("a", [Number.NaN, 1, 0])], /item a in layer 0, head 0 is NaN/],
    [
      "with more windows than their length has",
      [item("a", [3, 2, 1, 0])],
      /4 windows; 32 tokens have 2 blocks/
    ],
    ["none at all", [], /no item to average/]
  ])("is refused for items %s", async (_, items, message) => {
    const error = await Effect.runPromise(Effect.flip(reduced(items, "mean")))
    expect(String((error as { readonly cause?: unknown }).cause ?? error)).toMatch(message)
  })
})
