import { expect, it } from "vitest"
import { longPipeline } from "./LongPipeline.js"
import { typeCheck } from "./TypeCheck.js"

it("a pipeline of 200 stages compiles", () => {
  const { text } = longPipeline(200)
  expect(typeCheck({ "pipeline.ts": text })).toMatchObject({ output: "", ok: true })
}, 120_000)

it("a wrong wire in the middle of 200 stages is told at its line, and nowhere else", () => {
  const { line, text } = longPipeline(200, { stage: 100 })
  const { ok, output } = typeCheck({ "pipeline.ts": text })
  expect(ok).toBe(false)
  const errors = output.match(/^pipeline\.ts\(\d+,\d+\): error/gm)
  expect(errors).toHaveLength(1)
  expect(errors?.[0]).toContain(`pipeline.ts(${line},`)
}, 120_000)
