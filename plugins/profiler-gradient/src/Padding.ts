/**
 * Items of one length may be of different sizes: a shorter one counts as if nothing was left to drop beyond it.
 */

/** A window curve of more windows. */
export const padded = (values: ReadonlyArray<number>, size: number): Float64Array => {
  const result = new Float64Array(size)
  result.set(values)
  return result
}

/** Block sums of `from` blocks a side among those of `to`. */
export const widened = (blocks: ReadonlyArray<number>, from: number, to: number): Float64Array => {
  if (blocks.length === 0) return new Float64Array(0)
  const result = new Float64Array(to * to)
  for (let i = 0; i < from; i++) result.set(blocks.slice(i * from, (i + 1) * from), i * to)
  return result
}
