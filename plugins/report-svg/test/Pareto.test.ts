import type { Candidate, Plan } from "@tessera/attention"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { expectedPanels, measuredPanels, type Measurement, pareto } from "../src/index.js"

const plan = (name: string, alpha: number): Plan => ({
  format: 1,
  name,
  model: { architecture: "LlamaForCausalLM", layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 },
  geometry: { block: 16, sink: 16, minWindow: 1 },
  grouping: "kv-head",
  rules: [[{ alpha, beta: 0 }]],
  length: "prompt",
  provenance: {}
})
const candidate = (name: string, alpha: number, losses: Readonly<Record<number, number>>): Candidate => ({
  plan: plan(name, alpha),
  expected: Object.entries(losses).map(([length, loss]) => ({
    length: Number(length),
    loss,
    density: alpha / 1000
  }))
})
const candidates = [
  candidate("moa-1", 250, { 512: 1, 1024: 4, 2048: 9 }),
  candidate("moa-2", 200, { 512: 2, 1024: 3, 2048: 8 }),
  candidate("streaming-llm", 256, {})
]
/** What `choose` makes of moa-2. */
const chosen = plan("moa", 200)

const measured = (
  plan: string,
  density: number,
  loss: number,
  more: Partial<Measurement> = {}
): Measurement => ({
  plan,
  task: "news",
  length: 512,
  depth: "all",
  items: 10,
  accuracy: 1,
  accuracy_low: 1,
  accuracy_high: 1,
  loss,
  loss_margin: 0.25,
  kv_bytes: 1,
  density,
  ...more
})
const measurements = [
  measured("dense", 1, 1),
  measured("moa-1", 0.25, 2),
  measured("moa-2", 0.25, 1.5),
  measured("streaming-llm", 0.5, 3),
  measured("h2o", 0.2, 4),
  measured("moa-2", 0.25, 2, { length: 256 }),
  measured("moa-2", 0.25, 9, { depth: "0.0-0.2" }),
  measured("broken", 0.25, NaN)
]

describe("what is expected", () => {
  it("has a panel for each two neighbouring lengths, of the candidates that expect a loss", () => {
    const panels = expectedPanels(candidates, chosen)
    expect(panels.map(({ x, y }) => [x, y])).toEqual([
      [{ length: 512, of: "loss" }, 1024],
      [{ length: 1024, of: "loss" }, 2048]
    ])
    expect(panels[0]?.points).toEqual([
      { plan: "moa-1", role: "candidate", x: 1, y: 4 },
      { plan: "moa-2", role: "chosen", x: 2, y: 3 }
    ])
  })

  it("is drawn over the density where there is one length", () => {
    const [panel, ...more] = expectedPanels([candidate("a", 250, { 512: 1 })], chosen)
    expect(more).toEqual([])
    expect(panel).toEqual({
      x: { length: 512, of: "density" },
      y: 512,
      points: [{ plan: "a", role: "candidate", x: 0.25, y: 1 }]
    })
  })
})

describe("what was measured", () => {
  it("has a panel for each task and length, over all depths, with intervals and the front", () => {
    const panels = measuredPanels(candidates, measurements, chosen)
    expect(panels.map(({ length, task }) => [task, length])).toEqual([
      ["news", 256],
      ["news", 512]
    ])
    expect(
      panels[1]?.points.map(({ front, high, low, plan, role }) => [plan, role, front, low, high])
    ).toEqual([
      ["dense", "dense", true, 0.75, 1.25],
      ["moa-1", "candidate", false, 1.75, 2.25],
      ["moa-2", "chosen", true, 1.25, 1.75],
      ["streaming-llm", "baseline", false, 2.75, 3.25],
      ["h2o", "baseline", true, 3.75, 4.25]
    ])
  })
})

describe("a Pareto picture", () => {
  const draw = () => Effect.runPromise(pareto(candidates, measurements, chosen))

  it("names lengths, units and roles, and each plan where it is drawn", async () => {
    const svg = await draw()
    for (const text of [
      "N = 512 and 1,024",
      "expected loss at 2,048",
      "Measured: news",
      "nats per answer token",
      "KV cache kept, share of dense",
      "dense",
      "baseline",
      "candidate",
      "chosen: moa",
      "h2o",
      "moa-1"
    ])
      expect(svg).toContain(text)
  })

  it("has equal bytes for equal data", async () => {
    const [first, second] = await Promise.all([draw(), draw()])
    expect(second).toBe(first)
  })

  it("shows only what there is", async () => {
    const svg = await Effect.runPromise(pareto(candidates, [], chosen))
    expect(svg).not.toContain("Measured")
    expect(svg).not.toContain("baseline")
  })

  it("of nothing is refused, saying what to give", async () => {
    const none = Effect.runPromise(Effect.flip(pareto([candidate("a", 1, {})], [], chosen)))
    expect(await none).toMatchObject({
      _tag: "ReportError",
      reason: "NothingToDraw",
      message: expect.stringContaining("give candidates of an optimizer, or measurements of them")
    })
  })
})
