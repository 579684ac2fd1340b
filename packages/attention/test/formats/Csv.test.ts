import { Either } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type CsvContext, fromCsv, type Plan, toCsv } from "../../src/index.js"
import { plan } from "../arbitrary.js"

const model = { architecture: "LlamaForCausalLM", layers: 2, queryHeads: 4, kvHeads: 2, headDim: 8 }
const context: CsvContext = { name: "x", model, geometry: { block: 64, sink: 64, minWindow: 1 } }
const header = ",plan_id,layer_id,head_id,alpha_value,beta_value"

/** A file like those of the official optimizer. */
const official = (plans: number, heads: number, layers = 2) =>
  [
    header,
    ...Array.from({ length: plans * layers * heads }, (_, i) => {
      const [id, layer, head] = [Math.floor(i / layers / heads), Math.floor(i / heads) % layers, i % heads]
      return `${i},${id},${layer},${head},${1024.5 * head},0.125`
    }),
    ""
  ].join("\n")

const read = (text: string, more: Partial<CsvContext> = {}) => fromCsv(text, { ...context, ...more })
const refusal = (text: string, more: Partial<CsvContext> = {}) =>
  Either.getOrThrow(Either.flip(read(text, more)))

describe("CSV", () => {
  it("gives any plan back unchanged", () =>
    fc.assert(
      fc.property(plan, (p: Plan) => {
        const { geometry, grouping, length, model, name } = p
        const back = Either.getOrThrow(fromCsv(toCsv(p), { geometry, grouping, length, model, name }))
        expect({ ...back, provenance: {} }).toEqual(p)
      }),
      { seed: 7 }
    ))

  it("has the official columns, and more only where rules need them", () => {
    const linear = Either.getOrThrow(read(official(1, 4)))
    expect(toCsv(linear).split("\n").slice(0, 3)).toEqual([header, "0,0,0,0,0,0.125", "1,0,0,1,1024.5,0.125"])
    const capped = {
      ...linear,
      rules: [
        [{ alpha: 0, beta: 8, growth: "sqrt" as const, cap: 640 }, ...(linear.rules[0] ?? []).slice(1)],
        linear.rules[1] ?? []
      ]
    }
    expect(toCsv(capped).split("\n").slice(0, 3)).toEqual([
      `${header},growth,cap`,
      "0,0,0,0,0,8,sqrt,640",
      "1,0,0,1,1024.5,0.125,,"
    ])
  })

  it("takes head_id for query heads or KV heads by how many there are", () => {
    expect(Either.getOrThrow(read(official(1, 4))).grouping).toBe("query-head")
    expect(Either.getOrThrow(read(official(1, 2))).grouping).toBe("kv-head")
  })

  it("asks which of several plans is meant", () => {
    expect(refusal(official(3, 4)).message).toContain("it holds plans 0, 1, 2; say which one")
    expect(refusal(official(3, 4), { planId: 3 }).reason).toBe("WrongShape")
    expect(Either.getOrThrow(read(official(3, 4), { planId: 2 })).provenance["source"]).toBe("CSV, plan_id 2")
  })

  const good = official(1, 4)
  it.each([
    [
      "no names of columns",
      "1,2\n3,4\n",
      "Malformed",
      "line 1 names no column layer_id, head_id, alpha_value, beta_value"
    ],
    ["nothing", "", "Malformed", "line 1 names no column"],
    ["names alone", `${header}\n`, "Malformed", "no line below the names"],
    ["a short line", `${good}9,9\n`, "Malformed", "line 10 has 2 cells, the names are 6"],
    [
      "a second rule for a head",
      `${good}8,0,1,3,0,1\n`,
      "Malformed",
      "line 10 gives layer 1, head 3 a second rule"
    ],
    ["NaN", good.replace("1024.5,0.125", "nan,0.125"), "BadValue", 'line 3: alpha_value is "nan"'],
    [
      "an infinite rule",
      good.replace("1024.5,0.125", "inf,0.125"),
      "BadValue",
      'line 3: alpha_value is "inf"'
    ],
    ["an empty cell", good.replace("1024.5,0.125", ",0.125"), "BadValue", 'line 3: alpha_value is ""'],
    ["a negative beta", good.replace("1024.5,0.125", "0,-1"), "BadValue", 'line 3: beta_value is "-1"'],
    ["a negative layer", good.replace("1,0,0,1,", "1,0,-1,1,"), "BadValue", 'line 3: layer_id is "-1"'],
    ["half a head", good.replace("1,0,0,1,", "1,0,0,1.5,"), "BadValue", "line 3: head_id is no whole number"],
    ["a missing head", good.replace(/\n1,.*/, ""), "WrongShape", "layer 0, head 1 has no line"],
    ["more layers", official(1, 4, 3), "WrongShape", "line 10 is of layer 2, head 0; the model has 2 layers"],
    ["more heads", official(1, 5), "WrongShape", "line 6 is of layer 0, head 4"]
  ])("is refused with %s", (_, text, reason, message) => {
    const error = refusal(text)
    expect(error.reason).toBe(reason)
    expect(error.message).toContain(message)
  })

  it("is refused with growths and caps that there are not", () => {
    const more = (cells: string) => `layer_id,head_id,alpha_value,beta_value,growth,cap\n0,0,0,1,${cells}\n`
    expect(refusal(more("cubic,")).message).toContain('growth is "cubic", and must be linear, sqrt, log2')
    expect(refusal(more(",0")).message).toContain('cap is "0", and must be more than 0')
  })
})
