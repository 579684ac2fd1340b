import { cachedTokens, type Candidates, density, Plan } from "@tessera/attention"
import type { Value } from "@tessera/core"
import { Effect, Either, Schema } from "effect"
import * as fc from "fast-check"
import { expect, it } from "vitest"
import { streamingLlm, StreamingLlmParams, uniformPlan } from "../src/index.js"

const model = { architecture: "LlamaForCausalLM", layers: 8, queryHeads: 8, kvHeads: 4, headDim: 64 }
const geometry = { block: 16, sink: 32, minWindow: 4 }
const decode = Schema.decodeUnknownEither(StreamingLlmParams)
const task = { scratch: "/nowhere", slots: {}, report: () => Effect.void }

it("gives each KV head the same rule, whose span includes the sink", async () => {
  const params = Either.getOrThrow(decode({ density: 0.25, geometry }))
  const shape = { digest: "", value: Effect.succeed(model) }
  const { candidates } = await Effect.runPromise(
    streamingLlm.spec.run({ shape }, params, task) as Effect.Effect<{ candidates: Value<typeof Candidates> }>
  )
  expect(candidates.candidates).toHaveLength(1)
  const plan = candidates.candidates[0].plan
  expect(plan.name).toBe("streaming-llm-25")
  expect(plan.rules.flat()).toEqual(Array.from({ length: 32 }, () => ({ alpha: 0, beta: 0.25 })))
  expect(density(plan, 2048)).toBe(0.25)
})

it("never caches more than the density asks, but for the sink and the smallest window", () =>
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 10_000 }),
      (asked, length) => {
        const params = Either.getOrThrow(decode({ density: asked, geometry }))
        const plan = uniformPlan(model, params)
        expect(Schema.is(Plan)(plan)).toBe(true)
        const least = cachedTokens({ alpha: 0, beta: 0 }, geometry, length) / length
        expect(density(plan, length)).toBeLessThanOrEqual(Math.max(asked, least) + 1e-12)
      }
    ),
    { seed: 7 }
  ))

it.each([0, -0.5, 1.1, Number.NaN])("refuses density %d", (density) => {
  expect(decode({ density, geometry })._tag).toBe("Left")
})
