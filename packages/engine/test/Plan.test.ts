import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { explain, plan, run } from "../src/index.js"
import { failure, folder, inStore } from "./harness.js"
import { broken, ran, sums } from "./stages.js"

const statuses = async (root: string, options: Parameters<typeof plan>[1] = {}) =>
  Object.fromEntries(
    (await inStore(root, plan(sums, options))).map(({ node, status, reason }) => [
      node,
      `${status}: ${reason}`
    ])
  )

describe("a plan", () => {
  it("says what never ran and what waits for it, and runs nothing", async () => {
    expect(await statuses(folder())).toEqual({
      source: "run: never ran",
      scale: "unknown: waits for source",
      total: "unknown: waits for scale"
    })
    expect(ran).toEqual([])
  })

  it("says that all is cached after a run, also in another store handle", async () => {
    const root = folder()
    await inStore(root, run(sums))
    const planned = await inStore(root, plan(sums))
    expect(planned.map(({ status }) => status)).toEqual(["cached", "cached", "cached"])
    expect(planned[1]).toMatchObject({ shards: { total: 3, cached: 3 } })
    expect(planned[0]?.key).toMatch(/^sha256:/)
  })

  it("names the parameter that changed", async () => {
    const root = folder()
    await inStore(root, run(sums))
    expect(await statuses(root, { params: { by: 0.25 } })).toEqual({
      source: "cached: cached",
      scale: "run: param by 2 → 0.25",
      total: "unknown: waits for scale (param by 2 → 0.25)"
    })
  })

  it("says which shards are there and that a new one never ran", async () => {
    const root = folder()
    await inStore(root, run(sums))
    await inStore(root, run(sums, { params: { groups: ["a", "b", "d"] }, targets: ["scaled"] }))
    broken.add("e")
    await failure(root, run(sums, { params: { groups: ["a", "e"] } }))
    const planned = await inStore(root, plan(sums, { params: { groups: ["a", "e"] } }))
    expect(planned.find(({ node }) => node === "scale")).toMatchObject({
      status: "partial",
      shards: { total: 2, cached: 1 },
      reason: "failed last time"
    })
  })

  it("needs none of the stages' inputs to refuse a wrong request", async () => {
    const error = await failure(folder(), plan(sums, { set: { scale: { bye: 1 } } }))
    expect(error.message).toBe("stage scale: there is no parameter bye; did you mean by?")
  })
})

describe("an explanation", () => {
  it("compares with the last execution of the node", async () => {
    const root = folder()
    const first = await inStore(root, run(sums))
    await inStore(root, run(sums, { params: { by: 3 } }))
    const changed = await inStore(
      root,
      explain(sums, "total", { params: { by: 3 }, set: { total: { note: "x" } } })
    )
    expect(changed.differences).toEqual(["param note sum → x"])
    expect(changed).toMatchObject({ cached: false, reason: "param note sum → x" })
    const back = await inStore(root, explain(sums, "total"))
    expect(back).toMatchObject({
      cached: true,
      reason: "cached",
      differences: ["input numbers changed because stage scale's param by 3 → 2"]
    })
    expect(back.previous?.run).not.toBe(first.run)
  })

  it("takes a shard by name", async () => {
    const root = folder()
    await inStore(root, run(sums))
    const [a, b] = await Promise.all(
      ["scale[a]", "scale[b]"].map((node) => inStore(root, explain(sums, node)))
    )
    expect([a?.shard, b?.shard]).toEqual(["a", "b"])
    expect(a?.key).not.toBe(b?.key)
    const error = await failure(root, explain(sums, "scale[z]"))
    expect(error.message).toBe("scale: there is no shard z; did you mean a or b or c?")
  })

  it("says what must be computed first", async () => {
    const error = await failure(folder(), explain(sums, "total"))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Unknown" })
    expect(error.message).toContain("scale")
  })

  it("suggests the name of a node", async () => {
    const error = await failure(folder(), Effect.asVoid(explain(sums, "scael")))
    expect(error.message).toBe("pipeline sums: there is no node scael; did you mean scale?")
  })
})
