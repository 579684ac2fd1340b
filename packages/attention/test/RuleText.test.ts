import { expect, it } from "vitest"
import { ruleText } from "../src/index.js"

it.each([
  [{ alpha: 0, beta: 1 }, "N"],
  [{ alpha: 1024, beta: 0 }, "1024"],
  [{ alpha: 0, beta: 0.125 }, "0.125·N"],
  [{ alpha: -1024, beta: 0.75 }, "-1024 + 0.75·N"],
  [{ alpha: 0, beta: 8, growth: "sqrt" as const }, "8·√N"],
  [{ alpha: 64, beta: -12, growth: "log2" as const }, "64 - 12·log₂N"],
  [{ alpha: 0, beta: 0.25, cap: 4096 }, "min(0.25·N, 4096)"]
])("%o is written %s", (rule, text) => {
  expect(ruleText(rule)).toBe(text)
})
