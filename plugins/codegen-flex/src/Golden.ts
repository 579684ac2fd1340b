/**
 * Rows of block masks computed here, which the emitted package's tests compare with their own.
 */
import { blockRow, type Plan, planWindows } from "@tessera/attention"

/** Queries and keys per tile of the emitted block masks. */
export const tile = 128

/** The content of the emitted `tests/golden.json`: rows of the first and last layer's first and last head. */
export const golden = (plan: Plan, lengths: ReadonlyArray<number>) => {
  const { layers, queryHeads } = plan.model
  return lengths.flatMap((length) => {
    const windows = planWindows(plan, length)
    const tiles = Math.ceil(length / tile)
    return [...new Set([0, layers - 1])].flatMap((layer) =>
      [...new Set([0, queryHeads - 1])].map((head) => ({
        length,
        layer,
        head,
        rows: [...new Set([0, tiles >> 1, tiles - 1])].map((row) => ({
          row,
          ...blockRow(plan.geometry, windows[layer]?.[head] ?? 1, row * tile, (row + 1) * tile - 1, tile)
        }))
      }))
    )
  })
}
