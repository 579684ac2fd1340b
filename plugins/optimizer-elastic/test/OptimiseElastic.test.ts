import { density, elastic, headDensity, Plan } from "@tessera/attention"
import { Schema } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  decode,
  distinctPerLayer,
  feasible,
  lengthsOf,
  measure,
  problem,
  type Problem,
  row,
  shapeOf
} from "./brute.js"
import { fails, solve } from "./solver.js"

const withinBudget = (p: Problem, plan: Plan) => {
  for (const length of lengthsOf(p))
    expect(headDensity(plan, length)).toBeLessThanOrEqual((p.params.density as number) + 1e-12)
  if (p.params.maxRulesPerLayer !== undefined)
    expect(distinctPerLayer(plan)).toBeLessThanOrEqual(p.params.maxRulesPerLayer)
}

const bestOf = (p: Problem) => Math.min(...feasible(p).map((point) => point.losses[0] ?? 0))

/** Whether two losses are equal but for the order of adding up; `scale` is their usual size. */
const near = (got: number, want: number, scale = 1) =>
  Math.abs(got - want) <= 1e-9 * Math.max(scale, Math.abs(want)) || `${got} is not ${want}`
const agree = (got: number, want: number, scale = 1) => expect(near(got, want, scale)).toBe(true)

describe("the optimum of one length equals brute force", () => {
  const kinds = {
    "for falling and for ragged curves": { lengths: [128], objectives: "pareto" },
    "under a limit of rules per layer": { lengths: [128], limit: true, objectives: "pareto" },
    "for losses of either sign": { lengths: [96], signed: true, objectives: "sum" },
    "for losses of a millionth": { lengths: [128], scale: 1e-6, objectives: "pareto" },
    "for losses of a millionth, under a limit": {
      lengths: [128],
      scale: 1e-6,
      limit: true,
      objectives: "sum"
    },
    "for a last block that is partial": { lengths: [120], objectives: "sum" }
  } as const
  it.each(Object.entries(kinds))("%s", async (_, kind) => {
    await fc.assert(
      fc.asyncProperty(problem(kind), async (p) => {
        const candidates = await solve(p)
        expect(candidates).toHaveLength(1)
        const { plan, expected } = candidates[0]
        expect(Schema.is(Plan)(plan)).toBe(true)
        withinBudget(p, plan)
        const scale = "scale" in kind ? kind.scale : 1
        agree(expected[0]?.loss ?? Number.NaN, bestOf(p), scale)
        agree(measure(p, plan.rules).losses[0] ?? Number.NaN, bestOf(p), scale)
      }),
      { numRuns: 30, seed: 11, endOnFailure: true }
    )
  })
})

describe("with several lengths", () => {
  const kinds = {
    "": { lengths: [64, 128], objectives: "pareto" },
    " under a limit of rules per layer": { lengths: [64, 128], limit: true, objectives: "pareto" },
    " of three lengths": { lengths: [64, 128, 192], objectives: "pareto" }
  } as const
  it.each(Object.entries(kinds))(
    "no plan at all beats a candidate%s, and each single optimum is one",
    async (_, kind) => {
      await fc.assert(
        fc.asyncProperty(problem(kind), async (p) => {
          const candidates = await solve(p)
          const all = feasible(p)
          const lengths = lengthsOf(p)
          for (const { plan, expected } of candidates) {
            withinBudget(p, plan)
            const mine = expected.map(({ loss }) => loss)
            measure(p, plan.rules).losses.forEach((loss, n) => agree(mine[n] ?? Number.NaN, loss))
            const beaten = all.find(
              ({ losses }) =>
                losses.every((loss, n) => loss <= (mine[n] ?? 0) + 1e-12) &&
                losses.some((loss, n) => loss < (mine[n] ?? 0) - 1e-8)
            )
            expect(beaten).toBeUndefined()
          }
          for (const n of lengths.keys()) {
            const best = Math.min(...all.map(({ losses }) => losses[n] ?? 0))
            agree(Math.min(...candidates.map(({ expected }) => expected[n]?.loss ?? Number.NaN)), best)
          }
        }),
        { numRuns: 25, seed: 12, endOnFailure: true }
      )
    }
  )

  it("puts the least sum of the losses, as shares of their ranges, first, which is what `sum` alone returns", async () => {
    await fc.assert(
      fc.asyncProperty(problem({ lengths: [64, 128], objectives: "pareto" }), async (p) => {
        const range = lengthsOf(p).map((length) =>
          p.rows
            .filter((row) => row.length === length)
            .reduce((sum, { window }) => sum + Math.max(...window) - Math.min(...window), 0)
        )
        const aggregate = (losses: ReadonlyArray<number>) =>
          losses.reduce((sum, loss, n) => sum + loss / (range[n] || 1), 0)
        const best = Math.min(...feasible(p).map(({ losses }) => aggregate(losses)))
        const [first] = await solve(p)
        const [alone] = await solve({ ...p, params: { ...p.params, objectives: "sum" } })
        expect(near(aggregate(first.expected.map(({ loss }) => loss)), best)).toBe(true)
        expect(near(aggregate(alone.expected.map(({ loss }) => loss)), best)).toBe(true)
      }),
      { numRuns: 25, seed: 13, endOnFailure: true }
    )
  })
})

const falling = (blocks: number, size: number, reach = blocks) =>
  Array.from({ length: blocks + 1 }, (_, w) => Math.max(0, (size * (reach - w)) / reach))

/** Four layers of four query heads on two KV heads; the head's number decides how far it looks. */
const sample = (params: Record<string, unknown>, scale = 1): Problem => {
  const shape = shapeOf(4, 4, 2)
  return {
    shape,
    params: decode({ density: 0.5, minWindow: 1, gap: 0, ...params }),
    rows: [256, 512].flatMap((length) =>
      Array.from({ length: 16 }, (_, i) =>
        row(
          length,
          Math.floor(i / 4),
          i % 4,
          falling(
            length / 16,
            scale * (1 + ((i * 7) % 5)) * (length / 256),
            2 + ((i * 5) % (length / 16 - 1))
          )
        )
      )
    )
  }
}

describe("a plan", () => {
  it("is the same to the byte from the same influence, whatever the order of its rows", async () => {
    const p = sample({})
    const first = JSON.stringify(await solve(p))
    expect(JSON.stringify(await solve(p))).toBe(first)
    expect(JSON.stringify(await solve({ ...p, rows: p.rows.toReversed() }))).toBe(first)
  })

  it("does not change with the unit of the losses", async () => {
    const rules = async (scale: number) =>
      (await solve(sample({ objectives: "sum", density: 0.4 }, scale)))[0].plan.rules
    expect(await rules(2 ** -30)).toEqual(await rules(1))
    expect(await rules(2 ** 30)).toEqual(await rules(1))
  })

  it("is right where the worst loss is a billion times what is left to decide", async () => {
    const steep = fc.array(fc.double({ min: 1, max: 9, noNaN: true }), { minLength: 8, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(fc.array(steep, { minLength: 4, maxLength: 4 }), async (heads) => {
        const p: Problem = {
          shape: shapeOf(2, 2, 2),
          params: decode({
            density: 0.6,
            minWindow: 1,
            gap: 0,
            families: [elastic({ alphas: [32, 48, 64, 80, 96, 112], betas: [0] })]
          }),
          rows: heads.map((sizes, i) =>
            row(128, Math.floor(i / 2), i % 2, [...sizes.map((size, w) => size * 10 ** (6 - 3 * w)), 0])
          )
        }
        const [{ expected }] = await solve(p)
        const best = bestOf(p)
        expect(near(expected[0]?.loss ?? Number.NaN, best, best)).toBe(true)
      }),
      { numRuns: 30, seed: 14, endOnFailure: true }
    )
  })

  it("is named by its density and number", async () => {
    const candidates = await solve(sample({ density: 0.625, name: "mine" }))
    expect(candidates.map(({ plan }) => plan.name)).toEqual(candidates.map((_, i) => `mine-62.5-${i + 1}`))
    expect(candidates.length).toBeGreaterThan(1)
    expect(await solve(sample({ maxCandidates: 2 }))).toHaveLength(2)
  })

  it("has a rule per KV head, or per query head where asked; query heads then spend the same budget better", async () => {
    const [perKv] = await solve(sample({ objectives: "sum" }))
    const [perQuery] = await solve(sample({ objectives: "sum", grouping: "query-head" }))
    expect(perKv.plan.rules.map((layer) => layer.length)).toEqual([2, 2, 2, 2])
    expect(perQuery.plan.rules.map((layer) => layer.length)).toEqual([4, 4, 4, 4])
    expect(headDensity(perQuery.plan, 512)).toBeLessThanOrEqual(0.5)
    const loss = (c: typeof perKv) => c.expected.reduce((sum, { loss }, n) => sum + loss / (n + 1), 0)
    expect(loss(perQuery)).toBeLessThan(loss(perKv))
    // but cache more than asked, as the longest of a group decides
    expect(density(perQuery.plan, 512)).toBeGreaterThan(0.5)
    expect(perQuery.expected[1]?.density).toBe(density(perQuery.plan, 512))
  })

  it("takes the sum or the largest of its query heads' losses as a KV head's", async () => {
    const losses = async (groupLoss: string) =>
      (await solve(sample({ objectives: "sum", groupLoss }))).map(({ expected }) => expected[0]?.loss ?? 0)
    expect((await losses("max"))[0]).toBeLessThan((await losses("sum"))[0] ?? 0)
  })

  it("keeps the budget at lengths that were not profiled, when asked", async () => {
    const params = { density: 0.3, families: [elastic({ alphas: [-64, 0, 64], betas: [0, 0.25, 0.5] })] }
    const free = await solve(sample(params))
    expect(Math.max(...free.map(({ plan }) => density(plan, 4096)))).toBeGreaterThan(0.3)
    for (const { plan } of await solve(sample({ ...params, extendLengths: [1024, 4096] })))
      for (const length of [256, 512, 1024, 4096]) expect(density(plan, length)).toBeLessThanOrEqual(0.3)
  })

  it("keeps a lower bound too", async () => {
    const cheap = { density: 0.9, lowerDensity: 0.8, objectives: "sum" }
    const [{ plan }] = await solve(sample(cheap))
    for (const length of [256, 512]) {
      expect(density(plan, length)).toBeGreaterThanOrEqual(0.8)
      expect(density(plan, length)).toBeLessThanOrEqual(0.9)
    }
  })

  it("keeps one density per length", async () => {
    const [{ plan }] = await solve(sample({ density: { "256": 0.7, "512": 0.3 } }))
    expect(density(plan, 256)).toBeLessThanOrEqual(0.7)
    expect(density(plan, 512)).toBeLessThanOrEqual(0.3)
    expect(density(plan, 256)).toBeGreaterThan(0.3)
  })

  it("chooses, of rules alike at the profiled lengths, the one that keeps more beyond them", async () => {
    const p: Problem = {
      shape: shapeOf(1, 1, 1),
      params: decode({
        density: 0.5,
        minWindow: 1,
        families: [elastic({ alphas: [0, 64], betas: [0, 0.5] })]
      }),
      rows: [row(128, 0, 0, falling(8, 1))]
    }
    expect((await solve(p))[0].plan.rules).toEqual([[{ alpha: 0, beta: 0.5 }]])
    const held = { ...p, params: { ...p.params, density: { "128": 0.5, "256": 0.25 }, extendLengths: [256] } }
    expect((await solve(held))[0].plan.rules).toEqual([[{ alpha: 64, beta: 0 }]])
  })

  it("spends budget that no profiled length needs on what is expected beyond", async () => {
    // All is seen within two blocks at 128; four blocks of the budget are left to whoever gains at 256.
    const p: Problem = {
      shape: shapeOf(1, 2, 2),
      params: decode({
        density: 0.5,
        minWindow: 1,
        families: [elastic({ alphas: [0, 32], betas: [0, 0.25, 0.5] })]
      }),
      rows: [row(128, 0, 0, [5, 2, 1, 0, 0, 0, 0, 0, 0]), row(128, 0, 1, falling(8, 0))]
    }
    const [{ plan, expected }] = await solve(p)
    expect(expected[0]?.loss).toBe(0)
    expect(plan.rules[0]?.[0]?.beta).toBe(0.5)
  })

  it("has a proof and its circumstances in its provenance", async () => {
    const [{ plan }] = await solve(sample({ objectives: "sum" }))
    expect(plan.provenance).toMatchObject({ method: "elastic", lengths: "256, 512", density: "0.5" })
    expect(plan.provenance["proof"]).toBe("optimal, gap 0")
    expect(plan.provenance["solver"]).toMatch(/^decomposition, HiGHS \d/)
  })
})

describe("refusals", () => {
  it("say which length, what is reachable and how", async () => {
    const error = await fails(sample({ density: 0.05, minWindow: 3 }))
    expect(error.reason).toBe("Infeasible")
    expect(error.message).toContain("density 0.05")
    expect(error.message).toContain("at length 256: the smallest rule keeps 64 tokens a head")
    expect(error.message).toMatch(/0\.2 more than that\. The least there is 0\.25;/)
    const [found] = await solve(sample({ density: 0.25, minWindow: 3, objectives: "sum" }))
    expect(density(found.plan, 256)).toBe(0.25)
  })

  it("say so where lengths can be met one by one but not together", async () => {
    const error = await fails(
      sample({
        density: { "256": 0.3, "512": 0.3 },
        families: [elastic({ alphas: [0], betas: [1] })],
        minWindow: 1
      })
    )
    expect(error.reason).toBe("Infeasible")
    const both = await fails(
      sample({
        density: { "256": 0.25, "512": 1 },
        lowerDensity: { "512": 0.9 },
        families: [elastic({ alphas: [64, 0], betas: [0, 0.5] })]
      })
    )
    expect(both.reason).toBe("Infeasible")
    expect(both.message).toContain("all lengths together")
    expect(both.message).toMatch(/at length (256|512) by \d+/)
  })

  const good = sample({})
  const spoiled = (change: (row: (typeof good.rows)[number]) => object) => ({
    ...good,
    rows: good.rows.map((row, i) => (i === 5 ? { ...row, ...change(row) } : row))
  })
  it.each([
    [
      "a missing head",
      { ...good, rows: good.rows.slice(1) },
      "lacks 1 of 16 heads, the first being layer 0, head 0"
    ],
    ["a head given twice", { ...good, rows: [...good.rows, ...good.rows.slice(3, 4)] }, "is there twice"],
    ["no rows", { ...good, rows: [] }, "no rows"],
    [
      "NaN",
      spoiled((row) => ({ window: row.window.with(3, Number.NaN) })),
      "layer 1, head 1: the loss at a window of 3"
    ],
    ["too few windows", spoiled((row) => ({ window: row.window.slice(1) })), "16 losses"],
    ["windows in the wrong order", spoiled((row) => ({ window: row.window.toReversed() })), "ascending"],
    ["two geometries", spoiled(() => ({ sink: 32 })), "one geometry"],
    ["a layer the model has not", spoiled(() => ({ layer: 4 })), "4 layers of 4 query heads"]
  ])("name %s in the influence", async (_, p, message) => {
    const error = await fails(p)
    expect(error.reason).toBe("InvalidInfluence")
    expect(error.message).toContain(message)
  })

  it.each([
    ["a density for a length nobody profiled", { density: { "256": 0.5, "512": 0.5, "999": 0.5 } }, "999"],
    ["a length without a density", { density: { "256": 0.5 } }, "no bound for length 512"],
    ["a lower bound above the upper", { lowerDensity: 0.6 }, "lowerDensity 0.6 is above density 0.5"]
  ])("name %s in the parameters", async (_, params, message) => {
    const error = await fails(sample(params))
    expect(error.reason).toBe("InvalidParams")
    expect(error.message).toContain(message)
  })

  it.each([
    ["density", 0],
    ["density", 1.5],
    ["points", 1],
    ["maxRulesPerLayer", 0],
    ["families", []]
  ])("refuse %s %o", (name, value) => {
    expect(() => sample({ [name]: value })).toThrow(`["${name}"]`)
  })
})
