import * as fc from "fast-check"
import { expect, it } from "vitest"
import { type Frame, largest, lower, size, without, type Zone } from "../src/Zones.js"

const frameOf = (objectives: number): Frame => ({
  low: Array.from({ length: objectives }, () => 0),
  high: Array.from({ length: objectives }, () => 1),
  weights: Array.from({ length: objectives }, () => 1),
  grain: Array.from({ length: objectives }, () => 1e-9)
})

// Coarse on purpose: points share coordinates, and some beat others.
const coordinate = fc.integer({ min: 1, max: 9 }).map((tenths) => tenths / 10)

it.each([2, 3, 4])("zones of %i objectives hold exactly what no known point beats", (objectives) => {
  const point = fc.array(coordinate, { minLength: objectives, maxLength: objectives })
  const frame = frameOf(objectives)
  fc.assert(
    fc.property(
      fc.array(point, { maxLength: 8 }),
      fc.array(point, { minLength: 20, maxLength: 20 }),
      (known, asked) => {
        const all: Zone = { upper: frame.high, bound: 0 }
        const zones = known.reduce<ReadonlyArray<Zone>>((zones, one) => without(frame, zones, one), [all])
        for (const at of asked) {
          const isBeaten = known.some((one) => one.every((value, o) => value <= (at[o] ?? 0)))
          expect(zones.some(({ upper }) => at.every((value, o) => value < (upper[o] ?? 0)))).toBe(!isBeaten)
        }
        // None lies in another.
        for (const a of zones)
          expect(zones.filter(({ upper }) => a.upper.every((value, o) => value <= (upper[o] ?? 0)))).toEqual([
            a
          ])
      }
    ),
    { seed: 51 }
  )
})

it("a zone's box ends where sums would be below its bound, and the largest comes first", () => {
  const frame = frameOf(2)
  const middle: Zone = { upper: [0.6, 0.6], bound: 0.8 }
  const zones = [{ upper: [0.3, 0.9], bound: 1.1 }, middle, { upper: [0.9, 0.3], bound: 0.9 }]
  expect(lower(frame, middle)).toEqual([expect.closeTo(0.2), expect.closeTo(0.2)])
  expect(size(frame, middle)).toBeCloseTo(0.16)
  expect(largest(frame, zones)).toBe(middle)
  expect(largest(frame, [])).toBeUndefined()
})
