/** HiGHS in one thread for all tests of a file, and optimisations by it. */
import { Effect, ManagedRuntime } from "effect"
import { afterAll } from "vitest"
import { highs, optimiseWith } from "../src/index.js"
import type { Problem } from "./brute.js"

export const runtime = ManagedRuntime.make(highs)
afterAll(() => runtime.dispose())

export const optimised = (p: Problem) => optimiseWith(p.rows, p.shape, p.params)

/** @param params instead of the problem's own */
export const solve = (p: Problem, params: object = {}) =>
  runtime.runPromise(optimised({ ...p, params: { ...p.params, ...params } }))

export const fails = (p: Problem) => runtime.runPromise(Effect.flip(optimised(p)))
