/**
 * Intervals of what was measured.
 */

/** Two-sided 95% quantile of the normal distribution. */
const Z = 1.959963984540054

/** The 95% Wilson score interval of a share (Wilson 1927); [0, 1] where nothing was counted. */
export const wilson = (successes: number, count: number): readonly [low: number, high: number] => {
  if (count === 0) return [0, 1]
  const p = successes / count
  const z2 = (Z * Z) / count
  const centre = (p + z2 / 2) / (1 + z2)
  const half = (Z / (1 + z2)) * Math.sqrt((p * (1 - p)) / count + z2 / (4 * count))
  return [Math.max(0, centre - half), Math.min(1, centre + half)]
}

export const mean = (values: ReadonlyArray<number>): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

/** Half the 95% interval of a mean: 1.96 standard errors; 0 for fewer than two values. */
export const meanMargin = (values: ReadonlyArray<number>): number => {
  if (values.length < 2) return 0
  const centre = mean(values)
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1)
  return Z * Math.sqrt(variance / values.length)
}
