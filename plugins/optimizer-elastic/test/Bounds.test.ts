import { Effect } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { decomposition } from "../src/Decomposition.js"
import { Solver } from "../src/Highs.js"
import type { Instance } from "../src/Instance.js"
import { minimise } from "../src/Minimise.js"
import { runtime } from "./solver.js"

const layers = 2
const headsPerLayer = 2
const heads = layers * headsPerLayer
const lengths = [100, 200]

interface Given {
  readonly tokens: ReadonlyArray<ReadonlyArray<number>>
  readonly loss: ReadonlyArray<ReadonlyArray<number>>
  readonly most: ReadonlyArray<number>
  readonly limit: number | undefined
}

/** Options without any order between their tokens and losses: what real rules never are, and the hardest to bound. */
const given: fc.Arbitrary<Given> = fc.integer({ min: 3, max: 6 }).chain((options) =>
  fc.record({
    tokens: fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 })), {
      minLength: options,
      maxLength: options
    }),
    loss: fc.array(
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
        minLength: heads * options,
        maxLength: heads * options
      }),
      { minLength: 2, maxLength: 2 }
    ),
    most: fc.tuple(fc.integer({ min: 20, max: 130 }), fc.integer({ min: 20, max: 130 })),
    limit: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined })
  })
)

const instanceOf = ({ limit, loss, most, tokens }: Given): Instance => ({
  geometry: { block: 1, sink: 0, minWindow: 1 },
  layers,
  headsPerLayer,
  heads,
  options: tokens.map((_, alpha) => ({ alpha, beta: 0 })),
  budgets: lengths.map((length, b) => ({
    length,
    layer: undefined,
    costs: tokens.map((of) => of[b] ?? 0),
    least: 0,
    most: most[b] ?? 0,
    asked: { least: { text: "", amount: 0 }, most: { text: "", amount: 1 }, unit: 1 }
  })),
  lengths,
  loss: loss.map((of) => Float64Array.from(of)),
  range: [heads, heads],
  beyond: new Float64Array(heads * tokens.length),
  maxRulesPerLayer: limit,
  kept: Array.from({ length: heads }, () => tokens.map((_, r) => r)),
  standsFor: { heads: 1, layers: 1 }
})

/** The least sum of both losses with the second under a cap, of every plan there is. */
const bestOf = ({ limit, loss, most, tokens }: Given, cap: number): number => {
  let best = Infinity
  for (let code = 0; code < tokens.length ** heads; code++) {
    const choice = Array.from(
      { length: heads },
      (_, h) => Math.floor(code / tokens.length ** h) % tokens.length
    )
    const sums = [0, 1].map((b) => choice.reduce((sum, r) => sum + (tokens[r]?.[b] ?? 0), 0))
    if (sums.some((sum, b) => sum > (most[b] ?? 0))) continue
    if (limit !== undefined && [0, 2].some((at) => new Set(choice.slice(at, at + 2)).size > limit)) continue
    const [a = 0, b = 0] = loss.map((of) =>
      choice.reduce((sum, r, h) => sum + (of[h * tokens.length + r] ?? 0), 0)
    )
    if (b <= cap) best = Math.min(best, a + b)
  }
  return best
}

describe("whatever the gap, the decomposition", () => {
  it.each([0, 0.01, 0.1, 0.4])(
    "%s: proves no bound above the best plan, and is within the gap of it",
    async (gap) => {
      const solver = await runtime.runPromise(Solver)
      await fc.assert(
        fc.asyncProperty(given, fc.double({ min: 0.5, max: 4, noNaN: true }), async (one, cap) => {
          const best = bestOf(one, cap)
          const minimise = decomposition(solver, instanceOf(one))
          const goal = { weights: [1, 1], caps: [undefined, cap] }
          const solution = await Effect.runPromise(minimise(goal, { timeLimit: 60, gap }))
          expect(solution === undefined).toBe(best === Infinity)
          if (solution === undefined) return
          expect(solution.proven).toBe(true)
          expect(solution.bound).toBeLessThanOrEqual(best + 1e-8)
          expect(solution.value).toBeGreaterThanOrEqual(best - 1e-8)
          expect(solution.value).toBeLessThanOrEqual(best / (1 - gap) + 1e-8)
        }),
        { numRuns: 30, seed: 41, endOnFailure: true }
      )
    }
  )
})

/** As `Math.random`, but the same each time. */
const generator = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

it("a bound that HiGHS states above the cutoff, where it looked no further, proves nothing", async () => {
  const random = generator(52)
  const [count, all] = [8, 12]
  const tokens = Array.from({ length: count }, (_, r) => [0, 1].map(() => 1 + Math.floor(r * (1 + random()))))
  const loss = [0, 1].map(() =>
    Array.from({ length: all * count }, (_, i) => (random() * (1 + 3 * random())) / (1 + (i % count)))
  )
  const most = [0, 1].map(() => Math.floor(all * count * 0.4))
  const small = instanceOf({ tokens, loss, most, limit: undefined })
  const instance: Instance = {
    ...small,
    layers: 3,
    headsPerLayer: 4,
    heads: all,
    range: [all, all],
    kept: Array.from({ length: all }, () => tokens.map((_, r) => r))
  }
  const limits = { timeLimit: 60, gap: 0 }
  const solver = await runtime.runPromise(Solver)
  const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(effect)
  const alone = await run(
    minimise(solver, instance, { weights: [0, 1], caps: [undefined, undefined] }, limits)
  )
  const goal = { weights: [1, 0.001], caps: [undefined, (alone?.value ?? 0) * 1.17] }
  const best = await run(minimise(solver, instance, goal, limits))
  const own = await run(decomposition(solver, instance)(goal, { ...limits, gap: 0.01 }))
  // Between the bound and the plan found there is a better plan, within the gap.
  expect(own?.value).toBeGreaterThan((best?.value ?? NaN) + 1e-3)
  expect(own?.bound).toBeLessThanOrEqual((best?.value ?? NaN) + 1e-8)
})
