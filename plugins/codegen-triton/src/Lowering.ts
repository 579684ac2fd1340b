/**
 * From rules to what kernels walk: windows per query head, key ranges per tile of queries, work items per decode step.
 * The emitted `spans.py` is this arithmetic in Python; its test compares the two on values computed here.
 */
import { type Geometry, type Plan, ruleOfQueryHead, windowBlocks } from "@tessera/attention"

/** Keys `start … end - 1`, visited in steps of the key tile from `start`. */
export interface Segment {
  readonly start: number
  readonly end: number
  /** Whether some visited pair is not kept. False: every pair is, and the segment is whole tiles. */
  readonly masked: boolean
}

/** Keys `start … end - 1`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** One tile of query rows of one head, with the keys it visits. */
export interface PrefillItem {
  readonly head: number
  readonly first: number
  readonly last: number
  readonly segments: ReadonlyArray<Segment>
}

/** A share of the kept keys of one KV head, read once for all query heads of its group. */
export interface DecodeItem {
  readonly kvHead: number
  readonly split: number
  readonly splits: number
}

/** Window of every query head of a layer at length N, in blocks. */
export const layerWindows = (plan: Plan, layer: number, length: number): ReadonlyArray<number> =>
  Array.from({ length: plan.model.queryHeads }, (_, head) =>
    windowBlocks(ruleOfQueryHead(plan, layer, head), plan.geometry, length)
  )

/** First key of the window of a query position. */
export const windowStart = (geometry: Geometry, window: number, query: number): number =>
  Math.max(Math.floor(query / geometry.block) - window + 1, 0) * geometry.block

/**
 * The keys that query positions `first … last` of one head visit: every key that one of them keeps, once, ascending,
 * and no other.
 *
 * @param tile keys per tile
 */
export const prefillSegments = (
  geometry: Geometry,
  window: number,
  first: number,
  last: number,
  tile: number
): ReadonlyArray<Segment> => {
  const { sink } = geometry
  const windowOfFirst = windowStart(geometry, window, first)
  const windowOfLast = windowStart(geometry, window, last)
  const apart = windowOfFirst > sink
  const start = apart ? windowOfFirst : 0
  const end = last + 1
  const wholeSink = apart ? Math.floor(sink / tile) * tile : 0
  // Leading tiles that some rows' windows have left.
  const leaving = windowOfLast <= sink ? 0 : Math.max(windowOfLast - start, 0)
  const edge = Math.min(start + Math.ceil(leaving / tile) * tile, end)
  const diagonal = Math.max(edge, start + Math.floor((first + 1 - start) / tile) * tile)
  return [
    { start: 0, end: wholeSink, masked: false },
    { start: wholeSink, end: apart ? sink : 0, masked: true },
    { start, end: edge, masked: true },
    { start: edge, end: diagonal, masked: false },
    { start: diagonal, end, masked: true }
  ].filter((segment) => segment.start < segment.end)
}

/**
 * The tiles of a layer's prefill over `length` tokens, the longest rows first.
 *
 * @param rows query rows per tile
 * @param keys keys per tile
 */
export const prefillWork = (
  plan: Plan,
  layer: number,
  length: number,
  rows: number,
  keys: number
): ReadonlyArray<PrefillItem> => {
  const windows = layerWindows(plan, layer, length)
  return Array.from({ length: Math.ceil(length / rows) }, (_, tile) => tile * rows)
    .reverse()
    .flatMap((first) => {
      const last = Math.min(first + rows, length) - 1
      return windows.map((window, head) => ({
        head,
        first,
        last,
        segments: prefillSegments(plan.geometry, window, first, last, keys)
      }))
    })
}

/** The keys that the query heads sharing a KV head read at position `length - 1`: the union over their windows. */
export const decodeRanges = (
  geometry: Geometry,
  windows: ReadonlyArray<number>,
  length: number
): ReadonlyArray<Range> => {
  const start = Math.min(...windows.map((window) => windowStart(geometry, window, length - 1)))
  if (start <= geometry.sink) return [{ start: 0, end: length }]
  return [
    { start: 0, end: geometry.sink },
    { start, end: length }
  ].filter((range) => range.start < range.end)
}

/**
 * The work items of a decode step: long KV heads are split, so that no item reads more than about `chunk` keys.
 *
 * @param windows per query head
 * @param group query heads per KV head
 */
export const decodeWork = (
  geometry: Geometry,
  windows: ReadonlyArray<number>,
  group: number,
  length: number,
  chunk: number
): ReadonlyArray<DecodeItem> =>
  Array.from({ length: windows.length / group }, (_, kvHead) => {
    const ranges = decodeRanges(geometry, windows.slice(kvHead * group, (kvHead + 1) * group), length)
    const kept = ranges.reduce((sum, { start, end }) => sum + end - start, 0)
    const splits = Math.ceil(kept / chunk)
    return Array.from({ length: splits }, (_, split) => ({ kvHead, split, splits }))
  }).flat()

const tilesOf = (segments: ReadonlyArray<Segment>, tile: number): number =>
  segments.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / tile), 0)

/** Share of the tiles of dense causal prefill that the plan's prefill visits: its best speed-up is one over this. */
export const prefillShare = (plan: Plan, length: number, rows: number, keys: number): number => {
  const visited = (window: number): number => {
    let tiles = 0
    for (let first = 0; first < length; first += rows) {
      const last = Math.min(first + rows, length) - 1
      tiles += tilesOf(prefillSegments(plan.geometry, window, first, last, keys), keys)
    }
    return tiles
  }
  const known = new Map<number, number>()
  const tiles = (window: number): number => {
    const value = known.get(window) ?? visited(window)
    known.set(window, value)
    return value
  }
  const windows = plan.rules.flatMap((_, layer) => layerWindows(plan, layer, length))
  const dense = tiles(Math.ceil(length / plan.geometry.block))
  return windows.reduce((sum, window) => sum + tiles(window), 0) / (windows.length * dense)
}
