import { windowCurve } from "@tessera/attention"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { addInfluences, type InfluenceResult, reduceBlocks } from "../src/index.js"

/** Whole numbers, so that sums are exact. */
const influence = (heads: number, layers: number) =>
  fc.integer({ min: 1, max: 5 }).chain((blocks) =>
    fc.record({
      loss: fc.integer({ min: -9, max: 9 }),
      blocks: fc.constant(blocks),
      layers: fc.array(
        fc
          .array(fc.integer({ min: -99, max: 99 }), {
            minLength: heads * blocks ** 2,
            maxLength: heads * blocks ** 2
          })
          .map((values) =>
            Float32Array.from(values, (value, i) =>
              i % blocks > Math.floor(i / blocks) % blocks ? 0 : value
            )
          ),
        { minLength: layers, maxLength: layers }
      )
    })
  )

const entry = ({ blocks, layers }: InfluenceResult, layer: number, head: number, i: number, j: number) =>
  i < blocks && j < blocks ? (layers[layer]?.[(head * blocks + i) * blocks + j] ?? Number.NaN) : 0

const windows = { block: 4, reduce: { kind: "windows", sink: 4 } } as const

describe("influences", () => {
  it("reduced to windows are each head's window curve", () => {
    fc.assert(
      fc.property(influence(3, 2), (result) => {
        const { blocks, layers } = reduceBlocks(result, windows)
        expect(blocks).toBe(result.blocks)
        layers.forEach((curves, layer) => {
          expect(curves).toHaveLength(3 * (blocks + 1))
          for (let head = 0; head < 3; head++) {
            const sums = (result.layers[layer] ?? []).slice(head * blocks ** 2, (head + 1) * blocks ** 2)
            expect(Array.from(curves.slice(head * (blocks + 1), (head + 1) * (blocks + 1)))).toEqual([
              ...windowCurve(sums, blocks, 1)
            ])
          }
        })
      })
    )
  })

  it("added up are sums of losses and of blocks at their places, whatever the items' lengths", () => {
    fc.assert(
      fc.property(fc.array(influence(2, 2), { minLength: 1, maxLength: 4 }), (results) => {
        const sum = addInfluences(results, {})
        expect(sum.blocks).toBe(Math.max(...results.map(({ blocks }) => blocks)))
        expect(sum.loss).toBe(results.reduce((total, { loss }) => total + loss, 0))
        for (const layer of [0, 1])
          for (const head of [0, 1])
            for (let i = 0; i < sum.blocks; i++)
              for (let j = 0; j < sum.blocks; j++)
                expect(entry(sum, layer, head, i, j)).toBe(
                  results.reduce((total, one) => total + entry(one, layer, head, i, j), 0)
                )
      })
    )
  })

  it("give the same whether they are first added up or first reduced", () => {
    fc.assert(
      fc.property(fc.array(influence(2, 1), { minLength: 1, maxLength: 4 }), (results) => {
        const first = reduceBlocks(addInfluences(results, {}), windows)
        const last = addInfluences(
          results.map((one) => reduceBlocks(one, windows)),
          windows
        )
        expect(last).toEqual(first)
      })
    )
  })
})
