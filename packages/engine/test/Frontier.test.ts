import { Effect, Exit } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { visitAll } from "../src/Frontier.js"

/** Graphs whose items need only earlier ones. */
const graphs = fc
  .array(fc.array(fc.nat(), { maxLength: 4 }), { maxLength: 30 })
  .map((raw) => raw.map((needs, i) => (i === 0 ? [] : needs.map((n) => n % i))))

describe("visitAll", () => {
  it("visits each item once, after all it needs, never more than the limit side by side", () =>
    fc.assert(
      fc.asyncProperty(graphs, fc.integer({ min: 1, max: 5 }), async (graph, limit) => {
        const visited: Array<number> = []
        let [now, most] = [0, 0]
        const items = graph.map((_, i) => i)
        const needs = (i: number) => graph[i] ?? []
        await Effect.runPromise(
          visitAll(items, needs, limit, (i) =>
            Effect.gen(function* () {
              most = Math.max(most, ++now)
              expect(needs(i).every((needed) => visited.includes(needed))).toBe(true)
              yield* Effect.yieldNow()
              visited.push(i)
              now--
            })
          )
        )
        expect(visited.toSorted((a, b) => a - b)).toEqual(items)
        expect(most).toBeLessThanOrEqual(limit)
      })
    ))

  it("takes earlier items first", async () => {
    const visited: Array<number> = []
    const visit = (i: number) => Effect.sync(() => void visited.push(i))
    await Effect.runPromise(visitAll([0, 1, 2, 3], (i) => (i === 1 ? [0] : []), 1, visit))
    expect(visited).toEqual([0, 1, 2, 3])
  })

  it("interrupts the other visits at the first failure and waits for their ends", async () => {
    const ended: Array<string> = []
    const visit = (i: number) =>
      i === 0
        ? Effect.never.pipe(
            Effect.onInterrupt(() =>
              Effect.delay(
                Effect.sync(() => void ended.push("interrupted")),
                10
              )
            )
          )
        : Effect.delay(Effect.fail("broken"), 5)
    const exit = await Effect.runPromiseExit(visitAll([0, 1, 2], (i) => (i === 2 ? [1] : []), 8, visit))
    expect(exit).toEqual(Exit.fail("broken"))
    expect(ended).toEqual(["interrupted"])
  })
})
