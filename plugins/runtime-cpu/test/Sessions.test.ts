import { Effect } from "effect"
import { expect, it } from "vitest"
import { allocating } from "../src/Sessions.js"

it("gives arrays that cannot be allocated as out of memory, and other defects as they are", async () => {
  const error = await Effect.sync(() => new Float32Array(2 ** 40)).pipe(
    allocating("a test"),
    Effect.flip,
    Effect.runPromise
  )
  expect(error).toMatchObject({ _tag: "RuntimeError", reason: "OutOfMemory" })
  expect(error.message).toMatch(/a test/)
  const defect = Effect.runPromise(allocating("a test")(Effect.die(new RangeError("elsewhere"))))
  await expect(defect).rejects.toThrow("elsewhere")
})
