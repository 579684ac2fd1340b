/**
 * Values of the span arithmetic computed here, which the emitted package's tests compare with their own.
 */
import {
  blocks,
  decodeWork,
  density,
  headOrder,
  kvBytes,
  layerWindows,
  type Plan,
  planWindows,
  prefillSegments
} from "@tessera/attention"
import { cacheSlots } from "./CacheSlots.js"

const product = <A, B>(as: ReadonlyArray<A>, bs: ReadonlyArray<B>): ReadonlyArray<readonly [A, B]> =>
  as.flatMap((a) => bs.map((b) => [a, b] as const))

const segments = ({ geometry }: Plan) => {
  const { block, sink } = geometry
  const near = sink + 9 * block + 3
  const positions = [
    [0, 0],
    [0, 15],
    [sink + block, sink + 2 * block - 1],
    [near, near],
    [near - 40, near]
  ].map(([first = 0, last = 0]) => [Math.max(first, 0), last] as const)
  return product(product([1, 2, 3, 8], [16, 32, 64, 128]), positions).flatMap(
    ([[window, tile], [first, last]]) =>
      // All keys, those that are cached already, and those after them.
      [
        { start: 0, end: last + 1 },
        { start: 0, end: first },
        { start: first, end: last + 1 }
      ].map((keys) => ({
        window,
        tile,
        first,
        last,
        keys: [keys.start, keys.end],
        segments: prefillSegments(geometry, window, first, last, tile, keys).map(({ start, end, masked }) => [
          start,
          end,
          masked
        ])
      }))
  )
}

const work = (plan: Plan, lengths: ReadonlyArray<number>) => {
  const group = plan.model.queryHeads / plan.model.kvHeads
  const layers = [...new Set([0, plan.model.layers - 1])]
  return product(product(layers, lengths), [128, 1024]).map(([[layer, length], chunk]) => {
    const windows = layerWindows(plan, layer, length)
    return {
      windows,
      group,
      length,
      chunk,
      items: decodeWork(plan.geometry, windows, group, length, chunk).map(({ kvHead, split, splits }) => [
        kvHead,
        split,
        splits
      ])
    }
  })
}

/** Lengths that golden values and the README's table are given at, ascending. */
export const goldenLengths = ({ geometry }: Plan, asked: ReadonlyArray<number>): ReadonlyArray<number> =>
  [
    ...new Set([
      1,
      geometry.block,
      geometry.block + 1,
      geometry.sink + 3 * geometry.block - 1,
      1000,
      ...asked
    ])
  ].sort((a, b) => a - b)

/** The content of the emitted `tests/golden.json`. */
export const golden = (plan: Plan, asked: ReadonlyArray<number>) => {
  const lengths = goldenLengths(plan, asked)
  return {
    lengths: lengths.map((length) => ({
      length,
      blocks: blocks(plan.geometry, length),
      density: density(plan, length),
      slots: plan.rules.map((_, layer) => cacheSlots(plan, layer, length)),
      // Of keys and values in a type of two bytes.
      kvBytes: kvBytes(plan, length, 2),
      windows: planWindows(plan, length)
    })),
    orders: lengths
      .flatMap((length) => planWindows(plan, length))
      .map((windows) => ({
        windows,
        order: headOrder(windows, plan.model.queryHeads / plan.model.kvHeads)
      })),
    segments: segments(plan),
    work: work(plan, lengths)
  }
}
