import { type AttentionShape, type Candidates, density } from "@tessera/attention"
import type { Progress, Value } from "@tessera/core"
import { Effect, Exit, Fiber, Schema, Stream } from "effect"
import { expect, it } from "vitest"
import { ElasticParams, optimiseElastic } from "../src/index.js"
import { row } from "./brute.js"

const shape: AttentionShape = {
  architecture: "LlamaForCausalLM",
  layers: 4,
  queryHeads: 8,
  kvHeads: 4,
  headDim: 64
}
const rows = [256, 512, 1024].flatMap((length) =>
  Array.from({ length: 32 }, (_, i) => {
    const blocks = length / 16
    const size = 1 + ((i * 11) % 13)
    const far = (i % 4) / 4
    return row(
      length,
      Math.floor(i / 8),
      i % 8,
      Array.from({ length: blocks + 1 }, (_, w) =>
        w === blocks ? 0 : size * (far * (1 - w / blocks) + (1 - far) * Math.exp(-w / (1 + (i % 5))))
      )
    )
  })
)

const inputs = {
  influence: { digest: "", rows: Stream.fromIterable(rows), table: Effect.dieMessage("not read") },
  shape: { digest: "", value: Effect.succeed(shape) }
}
const run = (report: (progress: Progress) => Effect.Effect<void>, more: object = {}) =>
  optimiseElastic.spec.run(inputs, Schema.decodeUnknownSync(ElasticParams)({ density: 0.25, ...more }), {
    scratch: "/nowhere",
    slots: {},
    report
  }) as Effect.Effect<{
    readonly candidates: Value<typeof Candidates>
  }>

it("reports each problem and ends at the total", async () => {
  const seen: Array<Progress> = []
  const { candidates } = await Effect.runPromise(run((progress) => Effect.sync(() => seen.push(progress))))
  expect(candidates.candidates.length).toBeGreaterThan(1)
  expect(new Set(seen.map(({ unit }) => unit))).toEqual(new Set(["problems"]))
  expect(seen.map(({ done }) => done)).toEqual(seen.map(({ done }) => done).toSorted((a, b) => a - b))
  expect(seen.at(-1)?.done).toBe(seen.at(-1)?.total)
})

it("stops between two problems when interrupted", async () => {
  const seen: Array<Progress> = []
  const exit = await Effect.runPromise(
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(run((progress) => Effect.sync(() => void seen.push(progress))))
      yield* Effect.yieldNow()
      while (seen.length < 2) yield* Effect.sleep("1 millis")
      return yield* Fiber.interrupt(fiber)
    })
  )
  expect(Exit.isInterrupted(exit)).toBe(true)
  expect(seen.length).toBeLessThan(10)
})

it("says in each plan what it costs at the profiled lengths and those beyond", async () => {
  const { candidates } = await Effect.runPromise(run(() => Effect.void, { extendLengths: [2048] }))
  for (const { expected, plan } of candidates.candidates) {
    expect(plan.expected?.slice(0, -1)).toEqual(expected)
    expect(plan.expected?.at(-1)).toEqual({ length: 2048, density: density(plan, 2048) })
  }
})
