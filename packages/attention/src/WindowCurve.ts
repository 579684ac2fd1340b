/**
 * From block sums of influence to what a window costs: D(w) = the sum over everything that a sink and a window of w
 * blocks drop.
 */

/**
 * Sums over dropped blocks, for every window.
 *
 * @param sums one head's block sums, row-major [query block, key block], zero above the diagonal
 * @param blocks blocks per side
 * @param sinkBlocks key blocks that are never dropped
 * @returns D(0) … D(blocks): D(w) sums the blocks with key block ≥ sinkBlocks and query block - key block ≥ w
 */
export const windowCurve = (sums: ArrayLike<number>, blocks: number, sinkBlocks: number): Float64Array => {
  const curve = new Float64Array(blocks + 1)
  for (let i = 0; i < blocks; i++) {
    for (let j = sinkBlocks; j <= i; j++) curve[i - j] = (curve[i - j] ?? 0) + (sums[i * blocks + j] ?? 0)
  }
  for (let w = blocks - 1; w >= 0; w--) curve[w] = (curve[w] ?? 0) + (curve[w + 1] ?? 0)
  return curve
}
