/**
 * From rules to what kernels walk: key ranges per tile of queries, tiles of a block mask, work items per decode step.
 * Every emission target follows it; emitted packages have the same arithmetic in Python and compare it with values
 * computed here.
 */
import { layerWindows, type Plan } from "./Plan.js"
import type { Geometry } from "./Rule.js"

/** Keys `start … end - 1`. */
export interface KeyRange {
  readonly start: number
  readonly end: number
}

/** Keys that a tile of queries visits, in steps of the key tile from `start`. */
export interface KeySegment extends KeyRange {
  /** Whether some visited pair is not kept. False: every pair is, and the segment is whole tiles. */
  readonly masked: boolean
}

/** One tile of query rows of one head, with the keys it visits. */
export interface PrefillItem {
  readonly head: number
  readonly first: number
  readonly last: number
  readonly segments: ReadonlyArray<KeySegment>
}

/** A share of the kept keys of one KV head, read once for all query heads of its group. */
export interface DecodeItem {
  readonly kvHead: number
  readonly split: number
  readonly splits: number
}

/** First key of the window of a query position. */
export const windowStart = (geometry: Geometry, window: number, query: number): number =>
  Math.max(Math.floor(query / geometry.block) - window + 1, 0) * geometry.block

/**
 * The keys that query positions `first … last` of one head visit: every key that one of them keeps, once, ascending,
 * and no other.
 *
 * @param tile keys per tile
 * @param keys the keys that are there, such as those of a cache alone, or those after it; all up to `last` if absent
 */
export const prefillSegments = (
  geometry: Geometry,
  window: number,
  first: number,
  last: number,
  tile: number,
  keys: KeyRange = { start: 0, end: last + 1 }
): ReadonlyArray<KeySegment> => {
  const { sink } = geometry
  const windowOfFirst = windowStart(geometry, window, first)
  const windowOfLast = windowStart(geometry, window, last)
  const apart = windowOfFirst > sink
  const sinkEnd = apart ? Math.max(Math.min(sink, keys.end), keys.start) : keys.start
  const wholeSink = keys.start + Math.floor((sinkEnd - keys.start) / tile) * tile
  const start = Math.max(apart ? windowOfFirst : 0, keys.start)
  const end = Math.max(Math.min(last + 1, keys.end), start)
  // Leading tiles that some rows' windows have left.
  const leaving = windowOfLast <= sink ? 0 : Math.max(windowOfLast - start, 0)
  const edge = Math.min(start + Math.ceil(leaving / tile) * tile, end)
  const whole = Math.floor((Math.min(first + 1, end) - start) / tile)
  const diagonal = Math.max(edge, start + whole * tile)
  return [
    { start: keys.start, end: wholeSink, masked: false },
    { start: wholeSink, end: sinkEnd, masked: true },
    { start, end: edge, masked: true },
    { start: edge, end: diagonal, masked: false },
    { start: diagonal, end, masked: true }
  ].filter((segment) => segment.start < segment.end)
}

/** Key tiles of a block mask: tile `t` holds keys `t * tile … (t + 1) * tile - 1`. */
export interface BlockRow {
  /** Tiles some of whose pairs are kept, ascending. */
  readonly partial: ReadonlyArray<number>
  /** Tiles all of whose pairs are kept, ascending. */
  readonly full: ReadonlyArray<number>
}

/**
 * One row of a block mask: the aligned key tiles that query positions `first … last` of one head need.
 *
 * @param tile keys per tile
 */
export const blockRow = (
  geometry: Geometry,
  window: number,
  first: number,
  last: number,
  tile: number
): BlockRow => {
  const { sink } = geometry
  const near = windowStart(geometry, window, first)
  const left = windowStart(geometry, window, last)
  const partial: Array<number> = []
  const full: Array<number> = []
  for (let t = 0; t * tile <= last; t++) {
    const start = t * tile
    const end = start + tile
    if (start >= sink && end <= near) continue
    // No key is after a query, and none lies between the sink and the window of the last query.
    const whole = end <= first + 1 && (end <= sink || Math.max(start, sink) >= left)
    ;(whole ? full : partial).push(t)
  }
  return { partial, full }
}

/**
 * Query heads in the order of work: KV groups together, as they share keys and values, those of long windows first.
 *
 * @param windows per query head
 * @param group query heads per KV head
 */
export const headOrder = (windows: ReadonlyArray<number>, group: number): ReadonlyArray<number> => {
  const total = Array.from({ length: windows.length / group }, (_, kv) =>
    windows.slice(kv * group, (kv + 1) * group).reduce((sum, window) => sum + window, 0)
  )
  const kvHead = (head: number) => Math.floor(head / group)
  return windows
    .map((window, head) => ({ window, head }))
    .sort(
      (a, b) =>
        (total[kvHead(b.head)] ?? 0) - (total[kvHead(a.head)] ?? 0) ||
        kvHead(a.head) - kvHead(b.head) ||
        b.window - a.window
    )
    .map(({ head }) => head)
}

/**
 * The tiles of a layer's prefill over `length` tokens in the order of work: group by group in `headOrder`, and of a
 * group the late tiles, which have the longest windows, first.
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
  const group = plan.model.queryHeads / plan.model.kvHeads
  const order = headOrder(windows, group)
  const firsts = Array.from({ length: Math.ceil(length / rows) }, (_, tile) => tile * rows).reverse()
  return Array.from({ length: plan.model.kvHeads }, (_, at) =>
    order.slice(at * group, (at + 1) * group)
  ).flatMap((heads) =>
    firsts.flatMap((first) => {
      const last = Math.min(first + rows, length) - 1
      return heads.map((head) => ({
        head,
        first,
        last,
        segments: prefillSegments(plan.geometry, windows[head] ?? 1, first, last, keys)
      }))
    })
  )
}

/** The keys that the query heads sharing a KV head read at position `length - 1`: the union over their windows. */
export const decodeRanges = (
  geometry: Geometry,
  windows: ReadonlyArray<number>,
  length: number
): ReadonlyArray<KeyRange> => {
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

const tilesOf = (segments: ReadonlyArray<KeySegment>, tile: number): number =>
  segments.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / tile), 0)

/** Share of the tiles of dense causal prefill that the plan's prefill visits: its best speed-up is one over this. */
export const tileShare = (plan: Plan, length: number, rows: number, keys: number): number => {
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
