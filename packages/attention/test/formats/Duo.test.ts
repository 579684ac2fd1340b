import { Either } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { dense, type DuoContext, fromDuo, type Plan, planWindows, toDuo } from "../../src/index.js"
import { binaryPlan } from "../arbitrary.js"

const model = { architecture: "LlamaForCausalLM", layers: 2, queryHeads: 8, kvHeads: 4, headDim: 8 }
/** As numpy's savetxt writes scores that were learned in bfloat16: a little below 0, exactly 1, and between. */
const scores = [
  "8.593750000000000000e-01\t-9.250640869140625000e-05\t1.000000000000000000e+00\t3.398437500000000000e-01",
  "1.000000000000000000e+00\t5.000000000000000000e-01\t6.103515625000000000e-05\t1.000000000000000000e+00",
  ""
].join("\n")
const config = JSON.stringify({
  model_name: "models/m",
  sink_size: 128,
  recent_size: 256,
  deploy_sink_size: null
})
const context: DuoContext = { name: "x", model, select: { threshold: 0.5 } }

const read = (more: Partial<DuoContext> = {}, files: Partial<{ scores: string; config: string }> = {}) =>
  fromDuo({ scores, config, ...files }, { ...context, ...more })
const full = (plan: Plan) => plan.rules.map((row) => row.map(({ beta }) => beta))
const refusal = (...of: Parameters<typeof read>) => Either.getOrThrow(Either.flip(read(...of)))

describe("a DuoAttention pattern", () => {
  it("makes heads of at least the threshold dense, and the others a sink and a recent window", () => {
    const plan = Either.getOrThrow(read())
    expect(full(plan)).toEqual([
      [1, 0, 1, 0],
      [1, 1, 0, 1]
    ])
    expect(plan.rules[0]?.slice(0, 2)).toEqual([dense, { alpha: 384, beta: 0 }])
    expect(plan.geometry).toEqual({ block: 64, sink: 128, minWindow: 1 })
    expect(plan.provenance["full heads"]).toBe("5 of 8")
  })

  // The heads that numpy's quantile leaves at or above it where no scores are equal.
  it.each([
    [0, 8],
    [0.1, 7],
    [0.5, 4],
    [0.75, 2],
    [1, 0]
  ])("leaves all but a sparsity of %d full: %d of 8", (sparsity, count) => {
    const distinct = Array.from({ length: 2 }, (_, row) =>
      [0, 1, 2, 3].map((i) => (4 * row + i) / 8).join("\t")
    ).join("\n")
    const plan = Either.getOrThrow(read({ select: { sparsity } }, { scores: distinct }))
    expect(full(plan).flat()).toEqual(Array.from({ length: 8 }, (_, i) => (i < 8 - count ? 0 : 1)))
  })

  it("breaks ties by layer and head", () => {
    const plan = Either.getOrThrow(
      read({ select: { sparsity: 0.5 } }, { scores: "1\t1\t1\t1\n1\t1\t1\t1\n" })
    )
    expect(full(plan)).toEqual([
      [0, 0, 0, 0],
      [1, 1, 1, 1]
    ])
  })

  it("is deployed with other sizes where they are given", () => {
    const plan = Either.getOrThrow(read({ sink: 64, recent: 512, block: 32 }))
    expect(plan.geometry).toMatchObject({ block: 32, sink: 64 })
    expect(plan.rules[0]?.[1]).toEqual({ alpha: 576, beta: 0 })
  })

  it("is what such a plan is written as, unchanged", () =>
    fc.assert(
      fc.property(binaryPlan, (p) => {
        const { geometry, length, model, name } = p
        const written = Either.getOrThrow(toDuo(p))
        const { block } = geometry
        const back = Either.getOrThrow(
          fromDuo(written, { block, length, model, name, select: { threshold: 0.5 } })
        )
        expect({ ...back, provenance: {} }).toEqual(p)
      }),
      { seed: 7 }
    ))

  it("keeps the windows of rules that say the same otherwise, and of equal query heads", () => {
    const plan = {
      ...Either.getOrThrow(read()),
      grouping: "query-head" as const,
      rules: [
        [
          { alpha: 64, beta: 1.5 },
          dense,
          ...Array.from({ length: 6 }, () => ({ alpha: 9000, beta: 0, cap: 400 }))
        ],
        Array.from({ length: 8 }, () => ({ alpha: 384, beta: 0, growth: "log2" as const }))
      ]
    }
    const back = Either.getOrThrow(read({}, Either.getOrThrow(toDuo(plan))))
    for (const length of [100, 1000, 5000])
      expect(planWindows(back, length)).toEqual(planWindows(plan, length))
  })

  const base = Either.getOrThrow(read())
  const row = base.rules[1] ?? []
  it.each([
    [
      "grows",
      { ...base, rules: [[{ alpha: 0, beta: 0.5 }, ...row.slice(1)], row] },
      "layer 0, KV head 0 keeps a window that grows"
    ],
    [
      "differs",
      { ...base, rules: [row, [{ alpha: 1024, beta: 0 }, ...row.slice(1)]] },
      "layer 1, KV head 0 keeps a recent window of 896 tokens, an earlier head one of 256"
    ],
    [
      "is not its group's",
      {
        ...base,
        grouping: "query-head" as const,
        rules: [
          [...row, ...row],
          [...row, ...row]
        ]
      },
      "layer 0, query head 3 keeps another window than the head before it"
    ]
  ])("cannot say a window that %s, and says where", (_, plan, message) => {
    const error = Either.getOrThrow(Either.flip(toDuo(plan)))
    expect(error.reason).toBe("NotExpressible")
    expect(error.message).toContain(message)
  })

  it.each([
    [
      "a config that is not JSON",
      {},
      { config: "{" },
      "Malformed",
      "config.json needs sink_size and recent_size"
    ],
    ["no recent size", {}, { config: `{"sink_size":64}` }, "Malformed", "recent_size"],
    ["a negative sink", {}, { config: `{"sink_size":-64,"recent_size":64}` }, "Malformed", "sink_size"],
    [
      "other layers",
      {},
      { scores: "1\t1\t1\t1\n" },
      "WrongShape",
      "holds 1 layers of 4 scores, the model has 2 layers of 4 KV heads"
    ],
    ["other heads", {}, { scores: "1\t1\n1\t1\n" }, "WrongShape", "holds 2 layers of 2 scores"],
    ["commas", {}, { scores: "1,1,1,1\n1,1,1,1\n" }, "WrongShape", "2 layers of 1 scores"],
    [
      "NaN",
      {},
      { scores: scores.replace("5.000000000000000000e-01", "nan") },
      "BadValue",
      'layer 1, KV head 1: "nan"'
    ],
    [
      "a sink of half a block",
      { sink: 32 },
      {},
      "BadValue",
      "the sink of 32 tokens is no whole number of blocks of 64"
    ],
    [
      "no recent window",
      { recent: 0 },
      {},
      "BadValue",
      "the recent window of 0 tokens is no whole number of blocks of 64; give another block, or deploy with another size of at least one block"
    ],
    ["a threshold out of range", { select: { threshold: 2 } }, {}, "BadValue", "the threshold is 2"],
    ["a sparsity out of range", { select: { sparsity: NaN } }, {}, "BadValue", "the sparsity is NaN"]
  ] as const)("is refused with %s", (_, more, files, reason, message) => {
    const error = refusal(more, files)
    expect(error.reason).toBe(reason)
    expect(error.message).toContain(message)
  })
})
