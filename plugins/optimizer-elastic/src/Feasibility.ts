/**
 * Whether any plan meets the budgets, and if not, which one stands in the way and by how much.
 */
import { cachedTokens, type Rule } from "@tessera/attention"
import { Effect } from "effect"
import type { Bound } from "./Bounds.js"
import { OptimizerError } from "./Errors.js"
import type { Instance } from "./Instance.js"

const amount = (value: number): string => String(Number(value.toPrecision(4)))

/** To four digits, away from what is not reachable. */
const rounded = (value: number, round: (value: number) => number): string => {
  const digit = 10 ** (3 - Math.floor(Math.log10(value)))
  return value > 0 ? String(Number((round(value * digit) / digit).toPrecision(4))) : "0"
}
const upwards = (value: number): string => rounded(value, (x) => Math.ceil(x - 1e-6))
const downwards = (value: number): string => rounded(value, (x) => Math.floor(x + 1e-6))

const infeasible = (detail: string) => new OptimizerError({ reason: "Infeasible", detail })

/** Fails where one budget alone cannot be met. */
export const checkEach = (instance: Instance): Effect.Effect<void, OptimizerError> =>
  Effect.gen(function* () {
    const { geometry, heads, headsPerLayer, options } = instance
    for (const { asked, costs, layer, least, length, most } of instance.budgets) {
      const count = layer === undefined ? heads : headsPerLayer
      const extreme = (better: (a: number, b: number) => boolean) => {
        const at = costs.reduce((best, cost, i) => (better(cost, costs[best] ?? 0) ? i : best), 0)
        const tokens = cachedTokens(options[at] as Rule, geometry, length)
        return { tokens, reached: (costs[at] ?? 0) * count }
      }
      const lowest = extreme((a, b) => a < b)
      if (lowest.reached > most)
        return yield* infeasible(
          `no plan keeps ${asked.most.text} at length ${length}: the smallest rule keeps ${lowest.tokens} tokens a head ` +
            `(sink ${geometry.sink}, smallest window ${geometry.minWindow} blocks of ${geometry.block}), and that for every ` +
            `head is ${amount(lowest.reached * asked.unit - asked.most.amount)} more than that. The least there is ` +
            `${upwards(lowest.reached * asked.unit)}; raise the bound, or lower minWindow, or give families of smaller rules`
        )
      const highest = extreme((a, b) => a > b)
      if (highest.reached < least)
        return yield* infeasible(
          `no plan reaches ${asked.least.text} at length ${length}: the largest rule keeps ${highest.tokens} tokens a head, and ` +
            `that for every head is ${amount(asked.least.amount - highest.reached * asked.unit)} less than that. The most there is ` +
            `${downwards(highest.reached * asked.unit)}; lower the bound, or give families of larger rules`
        )
    }
  })

interface Excess {
  readonly bound: Bound
  /** Units above the most, or below the least where negative. */
  readonly units: number
}

/**
 * For budgets that can be met one by one but not together: the mix of at most two rules that comes nearest, as a share of
 * the budgets. Layers are mixed alike, so that the budgets of the first stand for those of all.
 */
const nearest = (instance: Instance): ReadonlyArray<Excess> => {
  const budgets = instance.budgets.filter(({ layer }) => layer === undefined || layer === 0)
  let best: { readonly size: number; readonly excess: ReadonlyArray<Excess> } | undefined
  // A message needs no finer mixes.
  const steps = Math.min(instance.heads, 32)
  for (const a of instance.options.keys())
    for (const b of instance.options.keys())
      for (let step = 0; step <= steps; step++) {
        const excess = budgets.map((bound): Excess => {
          const { costs, layer, least, most } = bound
          const first = Math.round((step / steps) * instance.heads) / instance.heads
          const mean = first * (costs[a] ?? 0) + (1 - first) * (costs[b] ?? 0)
          const spent = mean * (layer === undefined ? instance.heads : instance.headsPerLayer)
          return { bound, units: spent > most ? spent - most : Math.min(spent - least, 0) }
        })
        const size = excess.reduce((sum, { bound, units }) => sum + Math.abs(units) / bound.most, 0)
        if (best === undefined || size < best.size) best = { size, excess }
      }
  // Adding up a mix rounds.
  return best?.excess.filter(({ bound, units }) => Math.abs(units) > 1e-9 * bound.most) ?? []
}

/** The failure of budgets that no plan meets together. */
export const together = (instance: Instance): OptimizerError => {
  const parts = nearest(instance).map(
    ({ bound: { asked, length }, units }) =>
      `${(units > 0 ? asked.most : asked.least).text} at length ${length} by ${amount(Math.abs(units) * asked.unit)} ` +
      `(${units > 0 ? "exceeded" : "not reached"})`
  )
  const limit =
    instance.maxRulesPerLayer === undefined ? "" : ` with ${instance.maxRulesPerLayer} rules a layer at most`
  return infeasible(
    `no plan of these rules${limit} meets the budgets of all lengths together. ` +
      (parts.length > 0
        ? `A mix of two rules comes nearest and misses ${parts.join(" and ")}; move those budgets, or give a finer family`
        : `Mixes of two rules meet them on the mean of heads, but heads are whole` +
          (limit === ""
            ? `; ease the budgets a little`
            : `, and so is the limit of rules; raise maxRulesPerLayer`))
  )
}
