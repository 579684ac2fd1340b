import { fileURLToPath } from "node:url"
import { Effect, Fiber } from "effect"
import * as ort from "onnxruntime-node"
import { expect, it, vi } from "vitest"
import { loadFolder, randomTokens, run } from "./TinyModel.js"

const demo = fileURLToPath(new URL("../../../packages/demo/model", import.meta.url))

it("stops a long influence soon after it is interrupted, and releases every session", async () => {
  const create = vi.spyOn(ort.InferenceSession, "create")
  const releases: Array<ReturnType<typeof vi.spyOn>> = []
  const seconds = await run(
    Effect.gen(function* () {
      const model = yield* loadFolder(demo)
      const tokens = randomTokens(4096, model.config.vocabulary)
      const mask = tokens.map((_, i) => i > 4000)
      const fiber = yield* Effect.fork(
        model.influence({ tokens, mask, objective: "cross-entropy", block: 16, sum: "signed" })
      )
      // Well into the pass: projections, attention and what follows have a session each.
      yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => create.mock.results.length > 2 })
      for (const made of create.mock.results)
        if (made.type === "return")
          releases.push(vi.spyOn(yield* Effect.promise(() => made.value), "release"))
      const before = performance.now()
      const exit = yield* Fiber.interrupt(fiber)
      expect(exit._tag).toBe("Failure")
      return (performance.now() - before) / 1000
    })
  )
  expect(seconds).toBeLessThan(1)
  expect(releases.length).toBeGreaterThan(2)
  for (const release of releases) expect(release).toHaveBeenCalledOnce()
  create.mockRestore()
})
