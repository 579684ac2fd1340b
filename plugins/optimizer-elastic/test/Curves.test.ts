/** The loss that a plan is expected to have is the influence of exactly what its masks drop. */
import { type Grouping, keeps, planWindows, windowCurve } from "@tessera/attention"
import * as fc from "fast-check"
import { expect, it } from "vitest"
import { block, decode, row, shapeOf, sink } from "./brute.js"
import { solve } from "./solver.js"

const blocks = 8
const length = blocks * block
const shape = shapeOf(2, 4, 2)

const sums = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
  minLength: blocks ** 2,
  maxLength: blocks ** 2
})

it.each(
  (["kv-head", "query-head"] as const).flatMap((grouping) =>
    (["sum", "max"] as const).map((groupLoss): readonly [Grouping, "sum" | "max"] => [grouping, groupLoss])
  )
)("with a rule per %s, by the %s over its query heads", async (grouping, groupLoss) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(sums, { minLength: 8, maxLength: 8 }),
      fc.double({ min: 0.3, max: 1, noNaN: true }),
      async (influence, density) => {
        const rows = influence.map((own, i) =>
          row(length, Math.floor(i / 4), i % 4, [...windowCurve(own, blocks, sink / block)])
        )
        const params = decode({ density, grouping, groupLoss, minWindow: 1, gap: 0 })
        const [{ expected, plan }] = await solve({ rows, shape, params })
        // What the masks drop, one block pair at a time.
        const dropped = planWindows(plan, length).flatMap((heads, layer) =>
          heads.map((window, head) => {
            let sum = 0
            for (let q = 0; q < blocks; q++)
              for (let k = 0; k <= q; k++)
                if (!keeps(plan.geometry, window, q * block, k * block))
                  sum += influence[layer * 4 + head]?.[q * blocks + k] ?? Number.NaN
            return sum
          })
        )
        const group = grouping === "kv-head" ? 2 : 1
        const groups = Array.from({ length: 8 / group }, (_, i) => dropped.slice(i * group, (i + 1) * group))
        const folded = groups.map((of) =>
          groupLoss === "sum" ? of.reduce((a, b) => a + b, 0) : Math.max(...of)
        )
        expect(expected[0]?.loss).toBeCloseTo(
          folded.reduce((a, b) => a + b, 0),
          9
        )
      }
    ),
    { numRuns: 25, seed: 51, endOnFailure: true }
  )
})
