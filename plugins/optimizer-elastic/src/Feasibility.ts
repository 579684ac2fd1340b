/**
 * Whether any plan meets the budgets, and if not, which length stands in the way and by how much.
 */
import { Effect } from "effect"
import { OptimizerError } from "./Errors.js"
import type { Budget, Instance } from "./Instance.js"

const share = (tokens: number): string => String(Number(tokens.toPrecision(4)))

/** A density that is enough, cut to few digits but never below. */
const upwards = (density: number): string => String(Math.ceil(density * 1e4 - 1e-9) / 1e4)
const downwards = (density: number): string => String(Math.floor(density * 1e4 + 1e-9) / 1e4)

const infeasible = (detail: string) => new OptimizerError({ reason: "Infeasible", detail })

/** Fails where one length's budget alone cannot be met. */
export const checkEach = (instance: Instance): Effect.Effect<void, OptimizerError> =>
  Effect.gen(function* () {
    for (const [b, { length, least, most, asked }] of instance.budgets.entries()) {
      const tokens = instance.options.map((option) => option.tokens[b] ?? 0)
      const smallest = Math.min(...tokens)
      const largest = Math.max(...tokens)
      const bound = most / instance.heads
      if (smallest > bound)
        return yield* infeasible(
          `no plan keeps density ${asked.most} at length ${length}: the smallest rule keeps ${smallest} ` +
            `tokens a head (sink ${instance.geometry.sink}, smallest window ${instance.geometry.minWindow} blocks of ` +
            `${instance.geometry.block}), ${share(smallest - bound)} more than that. The least density there is ` +
            `${upwards(smallest / length)}; raise density, or lower minWindow, or give a grid of smaller rules`
        )
      if (largest < least / instance.heads)
        return yield* infeasible(
          `no plan reaches lowerDensity ${asked.least} at length ${length}: the largest ` +
            `rule keeps ${largest} tokens a head. The most is ${downwards(largest / length)}`
        )
    }
  })

interface Excess {
  readonly budget: Budget
  readonly tokens: number
}

/**
 * For budgets that can be met one by one but not together: the mix of at most two rules that comes nearest, as a share of
 * the budgets.
 */
const nearest = (instance: Instance): ReadonlyArray<Excess> => {
  let best: { readonly size: number; readonly excess: ReadonlyArray<Excess> } | undefined
  // A message needs no finer mixes.
  const step = Math.max(1, Math.floor(instance.heads / 32))
  for (const a of instance.options)
    for (const b of instance.options)
      for (let count = 0; count <= instance.heads; count += step) {
        const excess = instance.budgets.map((budget, i): Excess => {
          const kept = count * (a.tokens[i] ?? 0) + (instance.heads - count) * (b.tokens[i] ?? 0)
          return {
            budget,
            tokens: kept > budget.most ? kept - budget.most : Math.min(kept - budget.least, 0)
          }
        })
        const size = excess.reduce((sum, { budget, tokens }) => sum + Math.abs(tokens) / budget.most, 0)
        if (best === undefined || size < best.size) best = { size, excess }
      }
  return best?.excess.filter(({ tokens }) => tokens !== 0) ?? []
}

/** The failure of budgets that no plan meets together. */
export const together = (instance: Instance): OptimizerError => {
  const parts = nearest(instance).map(
    ({ budget, tokens }) =>
      `at length ${budget.length} by ${share(Math.abs(tokens) / instance.heads)} tokens a head (density ` +
      `${tokens > 0 ? budget.asked.most : budget.asked.least} is ${tokens > 0 ? "exceeded" : "not reached"})`
  )
  const limit =
    instance.maxRulesPerLayer === undefined ? "" : ` with ${instance.maxRulesPerLayer} rules a layer at most`
  return infeasible(
    `no plan of these rules${limit} meets the budgets of all lengths together. ` +
      (parts.length > 0
        ? `A mix of two rules comes nearest and misses ${parts.join(" and ")}; move those densities, or give a finer grid`
        : `Mixes of two rules meet them, so the limit of rules per layer stands in the way; raise maxRulesPerLayer`)
  )
}
