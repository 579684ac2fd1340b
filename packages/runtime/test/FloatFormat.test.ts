import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { decodeFloats, type FloatFormat } from "../src/index.js"

const decodeOne = (format: FloatFormat, bits: number): number | undefined =>
  decodeFloats(format, new Uint8Array(Uint16Array.of(bits).buffer))[0]

/** The float16 bits of a float32 that float16 holds exactly, built from the definition. */
const toHalf = (sign: number, exponent: number, fraction: number) =>
  (sign << 15) | (exponent << 10) | fraction

describe("decodeFloats", () => {
  it.each([
    ["F16", 0x0000, 0],
    ["F16", 0x3c00, 1],
    ["F16", 0xc000, -2],
    ["F16", 0x7bff, 65504],
    ["F16", 0x0400, 2 ** -14],
    ["F16", 0x0001, 2 ** -24],
    ["F16", 0x3555, 0.333251953125],
    ["F16", 0x7c00, Infinity],
    ["F16", 0xfc00, -Infinity],
    ["F16", 0x7e00, NaN],
    ["BF16", 0x3f80, 1],
    ["BF16", 0xc000, -2],
    ["BF16", 0x4049, 3.140625],
    ["BF16", 0x0001, 2 ** -133],
    ["BF16", 0x7f80, Infinity],
    ["BF16", 0x7fc0, NaN]
  ] as const)("reads %s %i as %d", (format, bits, value) => {
    expect(decodeOne(format, bits)).toBe(value)
  })

  it("reads negative zero as negative zero", () => {
    expect(decodeOne("F16", 0x8000)).toBe(-0)
    expect(decodeOne("BF16", 0x8000)).toBe(-0)
  })

  it("reads every normal float16 as its definition says", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1 }),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 0, max: 1023 }),
        (sign, exponent, fraction) => {
          const value = (-1) ** sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
          expect(decodeOne("F16", toHalf(sign, exponent, fraction))).toBe(value)
        }
      )
    )
  })

  it("reads bfloat16 as the float32 with the same upper bits", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const bits = new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0
        const upper = bits >>> 16
        const kept = new Float32Array(Uint32Array.of(upper << 16).buffer)[0]
        expect(decodeOne("BF16", upper)).toBe(kept)
        expect(Math.abs((kept ?? 0) - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -7 + 2 ** -126)
      })
    )
  })

  it("reads float32 unchanged", () => {
    fc.assert(
      fc.property(fc.float32Array({ noNaN: true, maxLength: 20 }), (values) => {
        const bytes = new Uint8Array(values.slice().buffer)
        expect(decodeFloats("F32", bytes)).toEqual(values)
      })
    )
  })
})
