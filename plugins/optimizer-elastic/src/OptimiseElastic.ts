/**
 * The stage that chooses an elastic rule for each head (MoA, arXiv 2406.14909 §4), proven optimal.
 */
import {
  AttentionShapeDocument,
  type AttentionShape,
  type Candidate,
  Candidates,
  density,
  Influence,
  type Plan,
  PlanDocument
} from "@tessera/attention"
import { stage } from "@tessera/core"
import { Effect, Stream } from "effect"
import { lengthsOf } from "./Bounds.js"
import { curvesOf, type InfluenceRow } from "./Curves.js"
import { decomposition } from "./Decomposition.js"
import { OptimizerError } from "./Errors.js"
import { checkEach } from "./Feasibility.js"
import type { Minimiser } from "./Goal.js"
import { highs, Solver } from "./Highs.js"
import { type Instance, instanceOf, rulesIn, total } from "./Instance.js"
import { minimise } from "./Minimise.js"
import { plansOf } from "./Objectives.js"
import { type Density, ElasticParams } from "./Params.js"
import { asked } from "./Provenance.js"
import type { Found } from "./Search.js"

const percent = (share: number): string => String(Number((share * 100).toFixed(2)))

/** The density in a plan's name: the bound at the longest profiled length. */
const named = (density: Density, lengths: ReadonlyArray<number>): string =>
  percent(typeof density === "number" ? density : (density[String(lengths.at(-1))] ?? 1))

/** Gaps below it are those of adding up in another order. */
const ROUNDING = 1e-9

const proof = (found: Found): string => {
  const { value, bound, proven } = found.solution
  const gap = (value - bound) / Math.max(Math.abs(value), Number.MIN_VALUE)
  return `${proven ? "optimal" : "stopped at the time limit"}, gap ${gap < ROUNDING ? 0 : Number(gap.toPrecision(3))}`
}

/** By objective: what a loss counts, weights given and its range as the unit. */
const weightsOf = (
  { lengths, range }: Instance,
  { weights }: ElasticParams
): Effect.Effect<ReadonlyArray<number>, OptimizerError> => {
  const stranger = Object.keys(weights).find((length) => !lengths.includes(Number(length)))
  return stranger === undefined
    ? Effect.succeed(range.map((unit, o) => (weights[String(lengths[o])] ?? 1) / unit))
    : Effect.fail(
        new OptimizerError({
          reason: "InvalidParams",
          detail: `weights names length ${stranger}, which was not profiled; those that were are ${lengths.join(", ")}`
        })
      )
}

const planOf = (
  instance: Instance,
  found: Found,
  explored: string | undefined,
  name: string,
  params: ElasticParams,
  shape: AttentionShape,
  solver: Solver
): Plan => {
  const plan: Plan = {
    format: 1,
    name,
    model: shape,
    geometry: instance.geometry,
    grouping: params.grouping,
    rules: rulesIn(instance, found.choice),
    length: params.length,
    provenance: {
      method: "elastic",
      objective: found.objective,
      proof: proof(found),
      bound: String(found.solution.bound),
      ...(explored === undefined ? {} : { front: explored }),
      solver: params.solver === "decomposition" ? `decomposition, ${solver.version}` : solver.version,
      lengths: instance.lengths.join(", "),
      ...asked(params),
      ...(params.extendLengths.length === 0 ? {} : { extendLengths: params.extendLengths.join(", ") }),
      ...(params.maxRulesPerLayer === undefined ? {} : { maxRulesPerLayer: String(params.maxRulesPerLayer) }),
      ...(params.share === "head" ? {} : { share: params.share }),
      groupLoss: params.groupLoss,
      families: params.families.map(({ family }) => family).join(", "),
      rules: String(instance.options.length),
      lossBeyond: String(total(instance, instance.beyond, found.choice))
    }
  }
  const expected = lengthsOf(params, instance.lengths).map((length) => ({
    length,
    density: density(plan, length),
    ...(instance.lengths.includes(length)
      ? { loss: found.losses[instance.lengths.indexOf(length)] ?? 0 }
      : {})
  }))
  return { ...plan, expected }
}

export interface Report {
  (progress: {
    readonly done: number
    readonly total: number
    readonly unit: string
    readonly label: string
  }): Effect.Effect<void>
}

/**
 * Chooses plans from an influence, HiGHS in a thread that ends with it. Of plans alike in the losses, those come that are
 * expected to lose less beyond the profiled lengths. The first candidate has the least sum of the losses, each as a share of its length's range; the
 * others follow in the order of that sum.
 */
export const optimise = (
  rows: ReadonlyArray<InfluenceRow>,
  shape: AttentionShape,
  params: ElasticParams,
  report: Report = () => Effect.void
): Effect.Effect<readonly [Candidate, ...ReadonlyArray<Candidate>], OptimizerError> =>
  Effect.provide(optimiseWith(rows, shape, params, report), highs)

/** As `optimise`, with a solver that serves several influences. */
export const optimiseWith = (
  rows: ReadonlyArray<InfluenceRow>,
  shape: AttentionShape,
  params: ElasticParams,
  report: Report = () => Effect.void
): Effect.Effect<readonly [Candidate, ...ReadonlyArray<Candidate>], OptimizerError, Solver> =>
  Effect.gen(function* () {
    const curves = yield* curvesOf(rows, shape, params.grouping, params.groupLoss)
    const instance = yield* instanceOf(curves, params, shape)
    const weights = yield* weightsOf(instance, params)
    yield* checkEach(instance)
    const solver = yield* Solver
    const minimiser: Minimiser =
      params.solver === "decomposition"
        ? decomposition(solver, instance)
        : (goal, limits, start) => minimise(solver, instance, goal, limits, start)
    const { explored, found } = yield* plansOf(minimiser, instance, weights, params, (done, total, label) =>
      report({ done, total, unit: "problems", label })
    )
    const candidate = (one: Found, i: number): Candidate => {
      const share = params.density === undefined ? [] : [named(params.density, instance.lengths)]
      const name = [params.name, ...share, i + 1].join("-")
      const plan = planOf(instance, one, explored, name, params, shape, solver)
      return {
        plan,
        expected: instance.lengths.map((length, o) => ({
          length,
          loss: one.losses[o] ?? 0,
          density: density(plan, length)
        }))
      }
    }
    const [first, ...rest] = found.slice(0, params.maxCandidates).map(candidate)
    return first === undefined
      ? yield* new OptimizerError({ reason: "Solver", detail: "the search ended without a plan" })
      : [first, ...rest]
  })

/** Influence and the model's attention shape in, plans within the budgets out. */
export const optimiseElastic = stage("optimizer-elastic", {
  version: "1",
  module: import.meta.url,
  description: "Elastic span rules per head under budgets, proven optimal",
  inputs: { influence: Influence, shape: AttentionShapeDocument },
  outputs: {
    candidates: Candidates,
    /** The first candidate: the least sum of losses, for those who do not measure. */
    best: PlanDocument
  },
  params: ElasticParams,
  resources: { cpu: 1 },
  reproducible: "bitwise",
  run: ({ influence, shape }, params, task) =>
    Effect.gen(function* () {
      const rows = yield* Stream.runCollect(influence.rows)
      const model = yield* shape.value
      const candidates = yield* optimise([...rows], model, params, task.report)
      return { candidates: { candidates }, best: candidates[0].plan }
    })
})
