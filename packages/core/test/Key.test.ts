import { Either } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { canonicalJson, key, type Manifest } from "../src/index.js"

const manifest: Manifest = {
  format: 1,
  stage: "profile",
  version: "1",
  code: "sha256:00",
  params: { block: 16, objective: "log-odds" },
  inputs: { calibration: ["CalibrationSet/1", "sha256:11"] },
  outputs: { influence: "Influence/1#length:Int32" },
  environment: { runtime: "cpu" }
}

describe("a key", () => {
  it("is pinned: a change of the format shows here", () => {
    expect(Either.getOrThrow(key(manifest))).toBe(
      "sha256:a9668d7df235fa95a61037a3b9801027caff811e84e623474f8cb55c9c89aa8c"
    )
  })

  it("does not depend on the order of properties", () => {
    const reversed = Object.fromEntries(Object.entries(manifest).reverse()) as unknown as Manifest
    expect(key(reversed)).toEqual(key(manifest))
  })

  it("changes when anything in the manifest changes", () => {
    const variants: ReadonlyArray<Manifest> = [
      { ...manifest, stage: "p" },
      { ...manifest, version: "2" },
      { ...manifest, code: "sha256:01" },
      { ...manifest, params: { block: 32, objective: "log-odds" } },
      { ...manifest, params: { block: "16", objective: "log-odds" } },
      { ...manifest, inputs: { calibration: ["CalibrationSet/1", "sha256:12"] } },
      { ...manifest, inputs: { calibration: ["CalibrationSet/2", "sha256:11"] } },
      { ...manifest, outputs: { influence: "Influence/1#length:Int64" } },
      { ...manifest, environment: { runtime: "torch" } }
    ]
    const keys = [manifest, ...variants].map((m) => Either.getOrThrow(key(m)))
    expect(new Set(keys).size).toBe(keys.length)
  })
})

describe("canonical JSON", () => {
  it.each([
    ["NaN", { x: Number.NaN }],
    ["an infinity", { x: [Infinity] }],
    ["undefined", { x: undefined }],
    ["a bigint", { x: 1n }],
    ["a function", { x: () => 0 }],
    ["a date", { x: new Date(0) }],
    ["a map", { x: new Map() }]
  ])("refuses %s instead of dropping it", (_, value) => {
    const result = canonicalJson(value, "stage profile")
    expect(Either.isLeft(result) && result.left.reason).toBe("Unencodable")
    expect(Either.isLeft(result) && result.left.message).toMatch(/^stage profile: value\.x/)
  })

  it("round-trips every JSON value and is stable under it", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = Either.getOrThrow(canonicalJson(JSON.parse(JSON.stringify(value)), "test"))
        expect(Either.getOrThrow(canonicalJson(JSON.parse(text), "test"))).toBe(text)
      })
    )
  })
})
