import { CalibrationSet, Candidates, Measurements, Model } from "@tessera/attention"
import { uniformPlan } from "@tessera/baseline-streaming-llm"
import { source } from "@tessera/core"
import { demoModelPath } from "@tessera/demo"
import { evaluateAnswers } from "@tessera/validator"
import { Effect } from "effect"
import { expect, it } from "vitest"
import { given } from "@tessera/testing"
import { rowsOf } from "./harness.js"

const model = source(Model, demoModelPath)
const shape = { architecture: "LlamaForCausalLM", layers: 8, queryHeads: 8, kvHeads: 4, headDim: 64 }
const uniform = (density: number, name: string) => ({
  plan: uniformPlan(shape, {
    density,
    name,
    geometry: { block: 16, sink: 16, minWindow: 1 },
    length: "prompt+new"
  }),
  expected: []
})
const row = (item: string, answer: number, masked = answer) => ({
  item,
  dataset: "multi_news",
  length: 256,
  tokens: Array.from({ length: 200 }, (_, i) => (i * 7919) % 2560),
  mask: Array.from({ length: 200 }, (_, i) => i >= 200 - answer && i < 200 - answer + masked),
  prompt: "",
  answer: "",
  cut: false
})

const measured = (
  rows: ReadonlyArray<ReturnType<typeof row>>,
  candidates: readonly [ReturnType<typeof uniform>, ...ReadonlyArray<ReturnType<typeof uniform>>]
) =>
  rowsOf(
    Measurements,
    evaluateAnswers({
      model,
      heldOut: given(CalibrationSet, rows),
      candidates: given(Candidates, { candidates })
    }).measurements
  )

it("a plan that keeps all loses what dense does, a short window more or less, on the counted tokens alone", async () => {
  const [dense, all, half] = await Effect.runPromise(
    measured([row("a", 20), row("b", 8)], [uniform(1, "all"), uniform(0.5, "half")])
  )
  expect(dense).toMatchObject({ plan: "dense", task: "answer", length: 256, items: 2, density: 1 })
  expect(all?.loss).toBeCloseTo(dense?.loss ?? 0, 4)
  expect(half?.loss).not.toBeCloseTo(dense?.loss ?? 0, 4)
  expect(half?.kv_bytes).toBe((dense?.kv_bytes ?? 0) / 2)
  // Per token: the sum over 20 tokens of one item and 8 of the other would be far more.
  expect(dense?.loss).toBeLessThan(60)
})

it.each([
  [
    "an answer that is not the end of its item",
    [row("a", 20, 5)],
    [uniform(1, "all")],
    /item a is not the end/
  ],
  ["two plans of one name", [row("a", 20)], [uniform(1, "x"), uniform(0.5, "x")], /two plans are named x/],
  ["a plan named as the dense model is", [row("a", 20)], [uniform(1, "dense")], /named dense/]
] as const)("%s is refused", async (_, rows, candidates, message) => {
  const error = await Effect.runPromise(Effect.flip(measured(rows, candidates)))
  expect(String((error as { readonly cause?: unknown }).cause ?? error)).toMatch(message)
})
