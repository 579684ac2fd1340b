import { Schema } from "effect"
import { describe, expect, it } from "vitest"
import { PackageName, packageNameOf } from "../src/index.js"

describe("the package's name", () => {
  it.each([
    ["moa-25", "tessera_moa_25"],
    ["MoA 25% (log-odds)", "tessera_moa_25_log_odds"],
    ["", "tessera_plan"],
    ["%", "tessera_plan"],
    ["x".repeat(80), `tessera_${"x".repeat(40)}`]
  ])("of plan %j is %s", (plan, name) => {
    expect(packageNameOf(plan)).toBe(name)
    expect(Schema.decodeSync(PackageName)(name)).toBe(name)
  })

  it("must be a Python identifier", () => {
    expect(() => Schema.decodeSync(PackageName)("moa-25")).toThrow(/lower-case letters/)
  })
})
