import { Schema } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  askedTokens,
  binary,
  capped,
  dense,
  denseOnly,
  elastic,
  fixed,
  isLinear,
  log2,
  Rule,
  RuleFamily,
  rules,
  rulesOf,
  sameRule,
  sqrt
} from "../src/index.js"

const at = { block: 64, sink: 64, profiled: [2048, 4096, 8192], lengths: [2048, 4096, 8192, 16384] }
const setting = fc
  .record({
    block: fc.constantFrom(16, 64),
    profiled: fc.uniqueArray(fc.integer({ min: 64, max: 20_000 }), { minLength: 1, maxLength: 4 }),
    more: fc.array(fc.integer({ min: 64, max: 40_000 }), { maxLength: 2 })
  })
  .map(({ block, more, profiled }) => ({ block, sink: block, profiled, lengths: [...profiled, ...more] }))

const presets = {
  elastic: elastic(),
  capped: capped(),
  sqrt: sqrt(),
  log2: log2(),
  official: elastic("official")
}
const others = {
  "elastic values": elastic({ alphas: [-64, 0], betas: [0.5] }),
  "capped values": capped({ alphas: [0], betas: [0.5], caps: [1024, 2048] }),
  fixed: fixed([256, 1024]),
  binary: binary({ recent: 256 }),
  dense: denseOnly,
  "one's own": rules([{ alpha: 3, beta: 2, growth: "log2", cap: 99 }])
}
const families = Object.entries<RuleFamily>({ ...presets, ...others })
const hasDense = (found: ReadonlyArray<Rule>) => found.some((rule) => sameRule(rule, dense))

describe("a family", () => {
  it.each(families)("%s travels as JSON and expands to rules, the same each time", (_, family) => {
    const copy = Schema.decodeUnknownSync(RuleFamily)(JSON.parse(JSON.stringify(family)))
    expect(copy).toEqual(family)
    const found = rulesOf(copy, at)
    expect(found.length).toBeGreaterThan(0)
    for (const rule of found) expect(Schema.is(Rule)(rule)).toBe(true)
    expect(rulesOf(family, at)).toEqual(found)
  })

  it("has 48 rules as the official grid at the official lengths, which are MoA's", () => {
    const found = rulesOf(elastic("official"), at)
    expect(found).toHaveLength(48)
    expect(found).toContainEqual({ alpha: 1024, beta: 0 })
    expect(found.some(({ alpha }) => alpha === -2048)).toBe(false)
    expect(found.filter(({ alpha }) => alpha === -1024).map(({ beta }) => beta)).toEqual([
      0.625, 0.75, 0.875, 1
    ])
    expect(found.every(isLinear)).toBe(true)
  })

  it("has the dense rule where it says so", () => {
    const { "elastic values": values, binary: duo, ...without } = others
    for (const family of [elastic(), elastic("official"), values, duo, denseOnly])
      expect(hasDense(rulesOf(family, at))).toBe(true)
    for (const family of [capped(), sqrt(), log2(), without.fixed, without["capped values"]])
      expect(hasDense(rulesOf(family, at))).toBe(false)
  })

  it("as a preset always has a rule, and none that asks for more than everything where that counts", () => {
    fc.assert(
      fc.property(setting, fc.constantFrom(...Object.values(presets)), (at, family) => {
        const found = rulesOf(family, at)
        expect(found.length).toBeGreaterThan(0)
        const longest = Math.max(...at.profiled)
        for (const rule of found) {
          expect(Schema.is(Rule)(rule)).toBe(true)
          expect(askedTokens(rule, longest)).toBeLessThan(longest + 1)
          expect(askedTokens(rule, Math.min(...at.lengths))).toBeGreaterThan(0)
        }
        if (family === presets.elastic) expect(hasDense(found)).toBe(true)
      }),
      { numRuns: 200, seed: 5 }
    )
  })

  it.each([
    ["sqrt", sqrt()],
    ["log2", log2()]
  ] as const)(
    "%s asks for every sixteenth of the longest profiled length, to the token, and for a smaller share beyond",
    (_, family) => {
      const shares = rulesOf(family, at)
        .filter(({ alpha }) => alpha === 0)
        .map((rule) => ({ here: askedTokens(rule, 8192), beyond: askedTokens(rule, 16384) }))
      expect(shares.map(({ here }) => Math.floor(here))).toEqual(
        Array.from({ length: 16 }, (_, k) => (k + 1) * 512)
      )
      for (const { beyond, here } of shares) expect(beyond / 16384).toBeLessThan(0.75 * (here / 8192))
    }
  )

  it("of two kinds keeps all, or the sink and the recent tokens", () => {
    expect(rulesOf(binary({ recent: 256 }), at)).toEqual([{ alpha: 320, beta: 0 }, dense])
  })

  it("stops at its caps, which no preset's rule passes", () => {
    for (const rule of rulesOf(capped(), at)) expect(askedTokens(rule, 1e9)).toBeLessThanOrEqual(8192)
  })
})
