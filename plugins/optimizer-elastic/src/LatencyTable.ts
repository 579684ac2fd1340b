/**
 * Times from a table of measurements: linear between two rows of a length, nothing beyond the first and the last.
 */
import { Effect } from "effect"
import type { LatencyBudget, LatencyRow } from "./Budget.js"
import { OptimizerError } from "./Errors.js"

const between = (rows: ReadonlyArray<LatencyRow>, tokens: number): number => {
  const above = rows.findIndex((row) => row.tokens >= tokens)
  const high = rows[above]
  const low = rows[above - 1]
  if (high === undefined) return Number.NaN
  return high.tokens === tokens || low === undefined
    ? high.milliseconds
    : low.milliseconds +
        ((high.milliseconds - low.milliseconds) * (tokens - low.tokens)) / (high.tokens - low.tokens)
}

/**
 * Milliseconds of the table for each number of tokens, or what has to be measured.
 *
 * @param tokens that a head keeps, by option; not empty
 */
export const costsOf = (
  { length, table }: LatencyBudget,
  tokens: ReadonlyArray<number>
): Effect.Effect<ReadonlyArray<number>, OptimizerError> => {
  const refuse = (what: string) =>
    new OptimizerError({
      reason: "InvalidParams",
      detail: `the latency table of the budget at length ${length} ${what}`
    })
  const rows = table.filter((row) => row.length === length).toSorted((a, b) => a.tokens - b.tokens)
  const [first, last] = [rows[0], rows.at(-1)]
  if (first === undefined || last === undefined) {
    const lengths = [...new Set(table.map((row) => row.length))].sort((a, b) => a - b)
    return refuse(`has rows of length ${lengths.join(", ")} only; measure at ${length} too`)
  }
  const twice = rows.find((row, i) => rows[i + 1]?.tokens === row.tokens)
  if (twice !== undefined)
    return refuse(`has two rows of ${twice.tokens} tokens; keep one of them, or their mean`)
  const [least, most] = [Math.min(...tokens), Math.max(...tokens)]
  const missing = [...(least < first.tokens ? [least] : []), ...(most > last.tokens ? [most] : [])]
  return missing.length > 0
    ? refuse(
        `has rows from ${first.tokens} to ${last.tokens} tokens, but rules keep ${least} to ${most}, and times are not ` +
          `extrapolated; measure at ${missing.join(" and ")} too, or choose families that keep within the table`
      )
    : Effect.succeed(tokens.map((each) => between(rows, each)))
}
