/**
 * Rules as people write them.
 */
import type { Rule } from "./Rule.js"

const growths = { linear: "N", sqrt: "√N", log2: "log₂N" } as const

/** Such as `1024 + 0.5·N`, `8·√N` or `min(0.25·N, 4096)`; `N` is dense. */
export const ruleText = ({ alpha, beta, cap, growth = "linear" }: Rule): string => {
  const term = Math.abs(beta) === 1 ? growths[growth] : `${Math.abs(beta)}·${growths[growth]}`
  const sum =
    beta === 0
      ? String(alpha)
      : alpha === 0
        ? `${beta < 0 ? "-" : ""}${term}`
        : `${alpha} ${beta < 0 ? "-" : "+"} ${term}`
  return cap === undefined ? sum : `min(${sum}, ${cap})`
}
