import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { random } from "../src/index.js"

const draws = (stream: ReturnType<typeof random>) => Array.from({ length: 8 }, () => stream.int(1000))

describe("random", () => {
  it("is pinned: the same numbers on every machine and in every version", () => {
    expect(draws(random("lines", "test", 0, 1024, 3))).toEqual([85, 801, 815, 494, 858, 956, 759, 14])
    expect(random("x").shuffle([1, 2, 3, 4, 5, 6])).toEqual([6, 5, 2, 4, 1, 3])
  })

  it("gives equal streams for equal labels and others for others", () => {
    expect(draws(random("a", 1))).toEqual(draws(random("a", 1)))
    const streams = [
      random("a", 1),
      random("a", 2),
      random("a", "1"),
      random("a1"),
      random("a", 1, 0),
      random()
    ]
    expect(new Set(streams.map((stream) => draws(stream).join())).size).toBe(streams.length)
  })

  it("shuffles without losing anything", () => {
    fc.assert(
      fc.property(fc.string(), fc.array(fc.integer()), (label, items) => {
        const sorted = (list: ReadonlyArray<number>) => list.toSorted((a, b) => a - b)
        expect(sorted(random(label).shuffle(items))).toEqual(sorted(items))
      })
    )
  })

  it("draws different numbers in range", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(40), fc.nat(200), (label, count, more) => {
        const n = count + more
        const drawn = random(label).distinct(count, n)
        expect(drawn.length).toBe(count)
        expect(new Set(drawn).size).toBe(count)
        expect(drawn.every((value) => value >= 0 && value < n)).toBe(true)
      })
    )
  })

  it("takes chances about as often as asked", () => {
    const stream = random("chances")
    const taken = Array.from({ length: 4000 }, () => stream.chance(25)).filter(Boolean).length
    expect(taken / 4000).toBeCloseTo(0.25, 1)
  })
})
