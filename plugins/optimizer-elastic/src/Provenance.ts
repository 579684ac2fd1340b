/**
 * What a plan says of what it was made for.
 */
import type { Budget } from "./Budget.js"
import type { Density, ElasticParams } from "./Params.js"

const lengthsText = (density: Density): string =>
  typeof density === "number"
    ? String(density)
    : Object.entries(density)
        .map(([length, share]) => `${length}: ${share}`)
        .join(", ")

const budgetText = (budget: Budget): string => {
  switch (budget.budget) {
    case "density": {
      const { least, lengths, most, per } = budget
      const ends = [
        ...(least === undefined ? [] : [`at least ${least}`]),
        ...(most === undefined ? [] : [`at most ${most}`])
      ]
      const where = lengths === undefined ? "" : ` at ${lengths.join(", ")}`
      return `density ${ends.join(" and ")}${per === "layer" ? " of each layer" : ""}${where}`
    }
    case "memory": {
      const { batch = 1, bytesPerElement, gib, length } = budget
      return `memory at most ${gib} GiB for a batch of ${batch} at ${length}, ${bytesPerElement} bytes an element`
    }
    case "latency": {
      const { batch = 1, length, milliseconds, of } = budget
      return `latency at most ${milliseconds} ms for a batch of ${batch} at ${length}, measured per ${of}`
    }
  }
}

/** Budgets and weights, as entries of a provenance. */
export const asked = ({
  budgets,
  density,
  lowerDensity,
  weights
}: ElasticParams): Readonly<Record<string, string>> => ({
  ...(density === undefined ? {} : { density: lengthsText(density) }),
  ...(lowerDensity === undefined ? {} : { lowerDensity: lengthsText(lowerDensity) }),
  ...(budgets.length === 0 ? {} : { budgets: budgets.map(budgetText).join("; ") }),
  ...(Object.keys(weights).length === 0 ? {} : { weights: lengthsText(weights) })
})
