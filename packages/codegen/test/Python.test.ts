import { expect, it } from "vitest"
import { pythonFloat, pythonItems, pythonString } from "../src/index.js"

it("writes numbers that Python reads as floats", () => {
  expect([1, -0.5, 1e-7, 2 ** 70].map(pythonFloat)).toEqual(["1.0", "-0.5", "1e-7", "1.1805916207174113e+21"])
})

it("writes strings with quotes and control characters escaped", () => {
  expect(pythonString('say "hi"\n')).toBe('"say \\"hi\\"\\n"')
})

it("writes tuple items 24 a line, each with its comma", () => {
  const items = Array.from({ length: 25 }, (_, i) => String(i))
  const lines = pythonItems(items, "  ").split("\n")
  expect(lines).toHaveLength(3)
  expect(lines[0]).toMatch(/^  0, 1, .* 23,$/)
  expect(lines.slice(1)).toEqual(["  24,", ""])
})
