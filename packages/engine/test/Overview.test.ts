import { Effect } from "effect"
import { expect, it } from "vitest"
import { graph } from "../src/index.js"
import { sums } from "./stages.js"

it("gives nodes, ports and how shards flow, without a store", async () => {
  const overview = await Effect.runPromise(graph(sums, { set: { scale: { by: 7 } } }))
  expect(overview.nodes.map(({ name, each, params }) => ({ name, each, params }))).toEqual([
    { name: "source", each: false, params: { groups: ["a", "b", "c"], note: "" } },
    { name: "scale", each: true, params: { by: 7 } },
    { name: "total", each: false, params: { note: "sum" } }
  ])
  expect(overview.nodes[2]?.outputs).toEqual([{ name: "total", kind: "document", type: "Total/1" }])
  expect(overview.edges).toEqual([
    {
      from: { node: "source", port: "numbers" },
      to: { node: "scale", port: "numbers" },
      view: "shard",
      by: "group"
    },
    { from: { node: "scale", port: "scaled" }, to: { node: "total", port: "numbers" }, view: "gather" },
    { from: { node: "total", port: "total" }, to: { target: "total" }, view: "whole" },
    { from: { node: "scale", port: "scaled" }, to: { target: "scaled" }, view: "gather" }
  ])
})
