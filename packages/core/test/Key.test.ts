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

const cyclic: { self?: unknown } = {}
cyclic.self = cyclic
class Instance {
  readonly a = 1
}
class Numbers extends Array<number> {}
const withHole = () => Object.assign([], { 0: 1, 2: 3 })
const deep = (levels: number) => {
  let value: unknown = 0
  for (let i = 0; i < levels; i++) value = [value]
  return value
}
const text = (value: unknown) => Either.getOrThrow(canonicalJson(value, "test"))

describe("canonical JSON", () => {
  it.each([
    ["NaN", Number.NaN],
    ["an infinity", -Infinity],
    ["undefined", undefined],
    ["a bigint", 1n],
    ["a function", () => 0],
    ["a symbol", Symbol("x")],
    ["a date", new Date(0)],
    ["a map", new Map()],
    ["a set", new Set()],
    ["bytes", new Uint8Array(2)],
    ["an instance of a class", new Instance()],
    ["a wrapped number", new Number(1)],
    ["an array of a class of its own", Numbers.of(1)],
    ["an array with holes", withHole()],
    ["an array with holes and as many properties of its own", Object.assign(withHole(), { extra: 2 })],
    ["a value that refers to itself", cyclic],
    ["an object with toJSON", { toJSON: () => 1 }],
    ["a lone high surrogate", "\ud800"],
    ["a lone low surrogate", "a\udc00b"],
    ["a value deeper than a call stack", deep(100_000)]
  ])("refuses %s instead of dropping or changing it", (_, value) => {
    for (const [wrapped, at] of [
      [{ x: value }, "x"],
      [[0, { x: value }], "1.x"]
    ] as const) {
      const result = canonicalJson(wrapped, "stage profile")
      expect(Either.isLeft(result) && result.left.reason).toBe("Unencodable")
      expect(Either.isLeft(result) && result.left.message).toContain(`stage profile: value.${at}`)
    }
  })

  it.each([
    ["a getter", Object.defineProperty({}, "x", { enumerable: true, get: () => 1 })],
    ["a hidden property", Object.defineProperty({}, "x", { value: 1 })],
    ["a name with a lone surrogate", { "\ud800": 1 }],
    ["a property named by a symbol", { [Symbol("x")]: 1 }]
  ])("refuses an object with %s", (_, value) => {
    expect(canonicalJson(value, "w")).toMatchObject({ left: { reason: "Unencodable" } })
  })

  it("takes what is reached on several ways, and objects without a prototype", () => {
    const shared = { a: 1 }
    expect(text([shared, shared, Object.assign(Object.create(null) as object, shared)])).toBe(
      '[{"a":1},{"a":1},{"a":1}]'
    )
  })

  it("writes -0 as 0, as RFC 8785 says", () => {
    expect(text({ zero: -0 })).toBe('{"zero":0}')
  })

  it("keeps a property named __proto__", () => {
    expect(text(JSON.parse('{"__proto__":{"a":1}}'))).toBe('{"__proto__":{"a":1}}')
  })

  // RFC 8785, sections 3.2.2 and 3.2.3.
  it("writes the examples of RFC 8785 as it does", () => {
    const literals = {
      numbers: [Number("333333333.33333329"), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"/",
      literals: [null, true, false]
    }
    expect(text(literals)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    const sorted = {
      "\u20ac": "Euro Sign",
      "\r": "Carriage Return",
      "\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One",
      "\u{1f600}": "Emoji: Grinning Face",
      "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis"
    }
    expect(Object.values(JSON.parse(text(sorted)) as object).length).toBe(7)
    // By UTF-16 code units: the emoji, a surrogate pair, before U+FB33.
    expect([...text(sorted).matchAll(/:"([^"]+)"/g)].map(([, value]) => value)).toEqual([
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh"
    ])
  })

  // RFC 8785, appendix B: the bits of a number and its text.
  it.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"]
  ])("writes the number of bits %s as %s", (bits, written) => {
    expect(text(Buffer.from(bits, "hex").readDoubleBE())).toBe(written)
  })

  it("does not depend on the order of properties, and keeps every JSON value", () => {
    const reversed = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(reversed)
        : typeof value === "object" && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .reverse()
                .map(([key, child]) => [key, reversed(child)])
            )
          : value
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), (json) => {
        const value: unknown = JSON.parse(json)
        fc.pre(!/\p{Surrogate}/u.test(JSON.stringify(value)) && !json.includes("\\ud"))
        const written = text(value)
        expect(text(reversed(value))).toBe(written)
        expect(text(JSON.parse(written))).toBe(written)
        // JSON.parse reads -0, which is written as 0.
        expect(JSON.stringify(JSON.parse(written))).toBe(JSON.stringify(JSON.parse(text(value))))
      })
    )
  })

  it("tells all numbers apart but 0 and -0", () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        (a, b) => {
          expect(text(a) === text(b)).toBe(a === b)
          expect(JSON.parse(text(a))).toBe(a === 0 ? 0 : a)
        }
      )
    )
  })
})
