import type { Plan } from "@tessera/attention"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { runs, spanMap } from "../src/index.js"

const dense = { alpha: 0, beta: 1 }
const quarter = { alpha: 0, beta: 0.25 }
const plan: Plan = {
  format: 1,
  name: "moa-<25>",
  model: { architecture: "LlamaForCausalLM", layers: 2, queryHeads: 8, kvHeads: 4, headDim: 8 },
  geometry: { block: 16, sink: 16, minWindow: 1 },
  grouping: "kv-head",
  rules: [
    [quarter, quarter, dense, dense],
    [quarter, dense, quarter, { alpha: 256, beta: 0 }]
  ],
  length: "prompt",
  provenance: {}
}
const draw = (...lengths: ReadonlyArray<number>) => Effect.runPromise(spanMap(plan, lengths))

/** How many rectangles have each colour. */
const cells = (svg: string): ReadonlyArray<number> => {
  const fills = [...svg.matchAll(/<path d="M[^"]*" fill="(rgb\([^"]*\)|#[0-9a-f]{6})"/g)].map(
    ([, fill = ""]) => fill
  )
  return [...new Set(fills)]
    .map((fill) => fills.filter((other) => other === fill).length)
    .sort((a, b) => a - b)
}

describe("a span map", () => {
  it("joins neighbouring heads of a layer that keep the same share of N", () => {
    expect(runs(plan, 512)).toEqual([
      { layer: 0, from: 0, to: 2, share: 0.25 },
      { layer: 0, from: 2, to: 4, share: 1 },
      { layer: 1, from: 0, to: 1, share: 0.25 },
      { layer: 1, from: 1, to: 2, share: 1 },
      { layer: 1, from: 2, to: 3, share: 0.25 },
      { layer: 1, from: 3, to: 4, share: 0.5 }
    ])
    // At 1,024 tokens two rules keep the same.
    expect(runs(plan, 1024).at(-1)).toEqual({ layer: 1, from: 2, to: 4, share: 0.25 })
  })

  it("has a colour for each share, and a panel for each length that says what is kept", async () => {
    expect(cells(await draw(512))).toEqual([1, 2, 3])
    const both = await draw(512, 16384)
    for (const text of [
      "N = 512 tokens",
      "keeps 56.3% of the KV cache",
      "N = 16,384 tokens",
      "KV head",
      "layer"
    ])
      expect(both).toContain(text)
    expect(both).toContain("Spans of moa-&lt;25&gt;")
    expect(both.match(/>span, share of N</g)?.length).toBe(1)
  })

  it("has equal bytes for equal plans, also beside others", async () => {
    const [first, other, second] = await Promise.all([draw(512, 1024), draw(2048), draw(512, 1024)])
    expect(second).toBe(first)
    expect(other).not.toBe(first)
  })

  it("is drawn for dark pages too", async () => {
    expect(await draw(512)).toContain("prefers-color-scheme: dark")
  })

  it("of no length is refused", async () => {
    expect(await Effect.runPromise(Effect.flip(spanMap(plan, [])))).toMatchObject({
      _tag: "ReportError",
      reason: "NothingToDraw",
      message: "no length to draw spans at; name at least one"
    })
  })
})
