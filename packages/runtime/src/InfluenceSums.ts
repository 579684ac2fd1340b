/**
 * Influences reduced to windows, and added up over items: for runtimes that do not do it where they compute.
 */
import { windowCurve } from "@tessera/attention"
import type { InfluenceOptions, InfluenceResult } from "./ModelRuntime.js"

/** Block sums as what windows cost: [query head, 0 … blocks] per layer. */
const windowed = ({ loss, blocks, layers }: InfluenceResult, sinkBlocks: number): InfluenceResult => ({
  loss,
  blocks,
  layers: layers.map((sums) => {
    const heads = sums.length / blocks ** 2
    const curves = new Float32Array(heads * (blocks + 1))
    for (let head = 0; head < heads; head++) {
      const own = sums.subarray(head * blocks ** 2, (head + 1) * blocks ** 2)
      curves.set(windowCurve(own, blocks, sinkBlocks), head * (blocks + 1))
    }
    return curves
  })
})

/** Block sums, reduced as the request says. */
export const reduceBlocks = (
  result: InfluenceResult,
  { block, reduce }: Pick<InfluenceOptions, "block" | "reduce">
): InfluenceResult => (reduce === undefined ? result : windowed(result, reduce.sink / block))

/**
 * Adds influences of one kind: losses, and layers entry by entry. Those of fewer blocks count as if nothing came after;
 * rows of `size(blocks)` entries keep their place.
 */
const added = (
  results: ReadonlyArray<InfluenceResult>,
  rows: (blocks: number) => number,
  size: (blocks: number) => number
): InfluenceResult => {
  const blocks = Math.max(0, ...results.map((result) => result.blocks))
  const [first] = results
  const layers = (first?.layers ?? []).map((one, layer) => {
    const heads = first === undefined ? 0 : one.length / (rows(first.blocks) * size(first.blocks))
    const sums = new Float64Array(heads * rows(blocks) * size(blocks))
    for (const result of results) {
      const [own, values] = [size(result.blocks), result.layers[layer] ?? new Float32Array(0)]
      for (let head = 0; head < heads; head++) {
        for (let row = 0; row < rows(result.blocks); row++) {
          const from = (head * rows(result.blocks) + row) * own
          const to = (head * rows(blocks) + row) * size(blocks)
          for (let i = 0; i < own; i++) sums[to + i] = (sums[to + i] ?? 0) + (values[from + i] ?? 0)
        }
      }
    }
    return Float32Array.from(sums)
  })
  return { loss: results.reduce((sum, { loss }) => sum + loss, 0), blocks, layers }
}

/** The sum of several items' influences, reduced alike; without items it has no layers. */
export const addInfluences = (
  results: ReadonlyArray<InfluenceResult>,
  { reduce }: Pick<InfluenceOptions, "reduce">
): InfluenceResult =>
  reduce === undefined
    ? added(
        results,
        (blocks) => blocks,
        (blocks) => blocks
      )
    : added(
        results,
        () => 1,
        (blocks) => blocks + 1
      )
