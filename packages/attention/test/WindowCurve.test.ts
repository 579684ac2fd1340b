import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { windowCurve } from "../src/index.js"

describe("a window curve", () => {
  it("sums, for every window, exactly the blocks that the window and the sink drop", () => {
    const arbitrary = fc.integer({ min: 1, max: 9 }).chain((blocks) =>
      fc.record({
        blocks: fc.constant(blocks),
        sink: fc.integer({ min: 0, max: 3 }),
        sums: fc.array(fc.integer({ min: -1000, max: 1000 }), {
          minLength: blocks ** 2,
          maxLength: blocks ** 2
        })
      })
    )
    fc.assert(
      fc.property(arbitrary, ({ blocks, sink, sums }) => {
        const curve = windowCurve(sums, blocks, sink)
        expect(curve).toHaveLength(blocks + 1)
        for (let w = 0; w <= blocks; w++) {
          let dropped = 0
          for (let i = 0; i < blocks; i++)
            for (let j = 0; j <= i; j++) {
              const kept = j < sink || i - j < w
              if (!kept) dropped += sums[i * blocks + j] ?? 0
            }
          expect(curve[w]).toBe(dropped)
        }
      })
    )
  })

  it("ends at zero: a window of all blocks drops nothing", () => {
    expect(windowCurve([5, 0, 7, 9], 2, 0)[2]).toBe(0)
  })
})
