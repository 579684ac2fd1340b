/**
 * Budgets as an instance counts them: what each option costs a head, in whole units, and how many units there are.
 */
import type { AttentionShape } from "@tessera/attention"
import { Effect } from "effect"
import type { Budget, LatencyBudget, MemoryBudget } from "./Budget.js"
import { OptimizerError } from "./Errors.js"
import { costsOf } from "./LatencyTable.js"
import type { Density, ElasticParams } from "./Params.js"

/** What heads may spend together at a length. */
export interface Bound {
  readonly length: number
  /** The layer whose heads they are; all heads where undefined. */
  readonly layer: number | undefined
  /** Whole units that a head spends, by option. */
  readonly costs: ReadonlyArray<number>
  /** Whole units. */
  readonly least: number
  readonly most: number
  /** The ends as they were asked for, and what a unit is in that measure. */
  readonly asked: { readonly least: Asked; readonly most: Asked; readonly unit: number }
}

interface Asked {
  /** Such as `density 0.25`. */
  readonly text: string
  readonly amount: number
}

/** What bounds are counted over. */
export interface Scope {
  readonly params: ElasticParams
  readonly shape: AttentionShape
  /** Lengths of densities that name none, ascending. */
  readonly lengths: ReadonlyArray<number>
  readonly profiled: ReadonlyArray<number>
  /** Layers of the instance. */
  readonly layers: number
  /** Heads with rules of their own in one layer of the model, and in all. */
  readonly headsPerLayer: number
  readonly heads: number
  /** How many of them a head of the instance stands for. */
  readonly standsFor: { readonly layer: number; readonly model: number }
  /** Tokens that a head keeps, by option. */
  readonly tokensAt: (length: number) => ReadonlyArray<number>
}

const invalid = (detail: string) => new OptimizerError({ reason: "InvalidParams", detail })

const NOTHING: Asked = { text: "", amount: 0 }
const GIB = 2 ** 30
/** Whole units of a millisecond: picoseconds, far below what is measured. */
const PICOSECONDS = 1e9

// A share times a length, or a time in units, may come out a hair off the whole number it stands for.
const down = (units: number): number => Math.floor(units + 1e-6)
const up = (units: number): number => Math.ceil(units - 1e-6)

/** All lengths that matter: profiled, extended to, or named by a budget; ascending. */
export const lengthsOf = (
  { budgets, extendLengths }: ElasticParams,
  profiled: ReadonlyArray<number>
): ReadonlyArray<number> => {
  const named = budgets.flatMap((one) => (one.budget === "density" ? (one.lengths ?? []) : [one.length]))
  return [...new Set([...profiled, ...extendLengths, ...named])].sort((a, b) => a - b)
}

interface Shares {
  readonly length: number
  readonly least: number | undefined
  readonly most: number | undefined
  readonly perLayer: boolean
  /** What their parameters are called. */
  readonly names: { readonly least: string; readonly most: string }
}

const times = (costs: ReadonlyArray<number>, by: number) => costs.map((cost) => cost * by)

const densityBounds = (
  { layers, headsPerLayer, heads, standsFor, tokensAt }: Scope,
  { least = 0, length, most = 1, names, perLayer }: Shares
): ReadonlyArray<Bound> => {
  const counted = perLayer ? headsPerLayer : heads
  const costs = times(tokensAt(length), perLayer ? standsFor.layer : standsFor.model)
  const whose = perLayer ? " of each layer" : ""
  const bound = {
    length,
    costs,
    least: up(least * length * counted),
    most: down(most * length * counted),
    asked: {
      least: { text: `${names.least} ${least}${whose}`, amount: least },
      most: { text: `${names.most} ${most}${whose}`, amount: most },
      unit: 1 / (length * counted)
    }
  }
  return perLayer
    ? Array.from({ length: layers }, (_, layer) => ({ ...bound, layer }))
    : [{ ...bound, layer: undefined }]
}

const at = (density: Density, length: number): number | undefined =>
  typeof density === "number" ? density : density[String(length)]

/** The densities of the short form, with their faults. */
const shortForm = ({
  lengths,
  params,
  profiled
}: Scope): Effect.Effect<ReadonlyArray<Shares>, OptimizerError> =>
  Effect.gen(function* () {
    const { density, lowerDensity } = params
    const known = `the lengths are ${lengths.join(", ")} (profiled: ${profiled.join(", ")})`
    for (const [name, shares] of Object.entries({ density, lowerDensity })) {
      if (shares === undefined || typeof shares === "number") continue
      const stranger = Object.keys(shares).find((length) => !lengths.includes(Number(length)))
      if (stranger !== undefined)
        return yield* invalid(`${name} names length ${stranger}; ${known}; add it to extendLengths`)
    }
    const found: Array<Shares> = []
    if (density === undefined && lowerDensity === undefined) return found
    for (const length of lengths) {
      const most = density === undefined ? undefined : at(density, length)
      if (density !== undefined && most === undefined)
        return yield* invalid(`density names no bound for length ${length}; ${known}`)
      const least = lowerDensity === undefined ? undefined : at(lowerDensity, length)
      if ((least ?? 0) > (most ?? 1))
        return yield* invalid(`at length ${length} lowerDensity ${least} is above density ${most}`)
      found.push({
        length,
        least,
        most,
        perLayer: false,
        names: { least: "lowerDensity", most: "density" }
      })
    }
    return found
  })

const memoryBound = (
  { params, shape, standsFor, tokensAt }: Scope,
  { batch = 1, bytesPerElement, gib, length }: MemoryBudget
): Effect.Effect<Bound, OptimizerError> => {
  const bytes = 2 * shape.headDim * bytesPerElement * batch
  return params.grouping === "query-head" && shape.queryHeads !== shape.kvHeads
    ? invalid(
        `a memory budget counts what KV heads cache, and with grouping "query-head" that is what the longest of ` +
          `${shape.queryHeads / shape.kvHeads} query heads needs, not a sum; use grouping "kv-head"`
      )
    : Effect.succeed({
        length,
        layer: undefined,
        costs: times(tokensAt(length), standsFor.model),
        least: 0,
        most: down((gib * GIB) / bytes),
        asked: { least: NOTHING, most: { text: `memory ${gib} GiB`, amount: gib }, unit: bytes / GIB }
      })
}

const latencyBound = (
  { headsPerLayer, standsFor, tokensAt }: Scope,
  budget: LatencyBudget
): Effect.Effect<Bound, OptimizerError> => {
  const { batch = 1, length, milliseconds, of } = budget
  const share = (standsFor.model * batch) / (of === "layer" ? headsPerLayer : 1)
  return Effect.map(costsOf(budget, tokensAt(length)), (costs) => ({
    length,
    layer: undefined,
    costs: costs.map((cost) => up(cost * share * PICOSECONDS)),
    least: 0,
    most: down(milliseconds * PICOSECONDS),
    asked: {
      least: NOTHING,
      most: { text: `latency ${milliseconds} ms`, amount: milliseconds },
      unit: 1 / PICOSECONDS
    }
  }))
}

const boundsOfOne = (scope: Scope, budget: Budget): Effect.Effect<ReadonlyArray<Bound>, OptimizerError> => {
  switch (budget.budget) {
    case "density": {
      const { least, lengths = scope.lengths, most, per } = budget
      const names = { least: "least density", most: "density" }
      return Effect.succeed(
        lengths.flatMap((length) =>
          densityBounds(scope, { length, least, most, perLayer: per === "layer", names })
        )
      )
    }
    case "memory":
      return Effect.map(memoryBound(scope, budget), (bound) => [bound])
    case "latency":
      return Effect.map(latencyBound(scope, budget), (bound) => [bound])
  }
}

/** All bounds of an optimisation, or which parameter is at fault. */
export const boundsOf = (scope: Scope): Effect.Effect<ReadonlyArray<Bound>, OptimizerError> =>
  Effect.gen(function* () {
    const { budgets, density } = scope.params
    if (density === undefined && budgets.length === 0)
      return yield* invalid("nothing bounds the plan; give density, or budgets, or both")
    const short = yield* shortForm(scope)
    const others = yield* Effect.forEach(budgets, (budget) => boundsOfOne(scope, budget))
    return [...short.flatMap((shares) => densityBounds(scope, shares)), ...others.flat()]
  })

/** Whether a bound is on heads of this layer. */
export const concerns = ({ layer }: Bound, of: number): boolean => layer === undefined || layer === of

/** Sums larger than this are out of proportion to the solver's tolerances. */
const LARGE = 2 ** 23
const SCALE = 1000
/** What large sums keep from their bound, so that no tolerance of the solver takes a plan across. */
const GUARD = 1e-8

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** A bound in numbers that suit the solver: common factors out, large sums scaled down. */
export interface Scaled {
  readonly cost: (option: number) => number
  readonly least: number
  readonly most: number
}

/** @param options those that some head may take */
export const scaled = ({ costs, least, most }: Bound, options: Iterable<number>): Scaled => {
  let unit = 0
  for (const option of options) unit = gcd(unit, costs[option] ?? 0)
  unit ||= 1
  if (most <= LARGE * unit)
    return {
      cost: (option) => (costs[option] ?? 0) / unit,
      least: Math.ceil(least / unit),
      most: Math.floor(most / unit)
    }
  const by = SCALE / most
  return {
    cost: (option) => (costs[option] ?? 0) * by,
    least: least * by * (1 + GUARD),
    most: SCALE * (1 - GUARD)
  }
}
