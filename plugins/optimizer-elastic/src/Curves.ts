/**
 * Loss curves: what each head loses when it keeps a window of w blocks, read from an influence and checked.
 */
import type { AttentionShape, Grouping, Influence } from "@tessera/attention"
import type { Row } from "@tessera/core"
import { Effect } from "effect"
import { OptimizerError } from "./Errors.js"

export type InfluenceRow = Row<typeof Influence>

/** The heads that get a rule each: KV heads or query heads, layer by layer. */
export interface Curves {
  /** Tokens. */
  readonly block: number
  /** Tokens. */
  readonly sink: number
  /** Profiled lengths, ascending. */
  readonly lengths: ReadonlyArray<number>
  readonly layers: number
  readonly headsPerLayer: number
  /** By length, then head (layer · headsPerLayer + head): loss at window w, w = 0 … blocks. */
  readonly loss: ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>
}

const invalid = (detail: string) => new OptimizerError({ reason: "InvalidInfluence", detail })

const where = (row: InfluenceRow) => `length ${row.length}, layer ${row.layer}, head ${row.head}`

/** What is wrong with a row by itself, if anything. */
const wrong = (row: InfluenceRow, first: InfluenceRow, shape: AttentionShape): string | undefined => {
  if (!(row.length > 0) || !(row.block > 0) || row.sink < 0 || row.sink % row.block !== 0)
    return `length ${row.length}, block ${row.block}, sink ${row.sink}: the sink must be whole blocks`
  if (row.block !== first.block || row.sink !== first.sink)
    return `block ${row.block} and sink ${row.sink}, but ${first.block} and ${first.sink} at ${where(first)}; profile all with one geometry`
  if (row.layer < 0 || row.layer >= shape.layers || row.head < 0 || row.head >= shape.queryHeads)
    return `the model has ${shape.layers} layers of ${shape.queryHeads} query heads`
  const entries = Math.ceil(row.length / row.block) + 1
  if (row.window.length !== entries)
    return `${row.window.length} losses, but windows of 0 to ${entries - 1} blocks need ${entries}`
  const bad = row.window.findIndex((loss) => !Number.isFinite(loss))
  if (bad >= 0)
    return `the loss at a window of ${bad} blocks is ${row.window[bad]}; a profile in a wider number type may be finite`
  const last = row.window[entries - 1] ?? 0
  const largest = row.window.reduce((most, loss) => Math.max(most, Math.abs(loss)), 0)
  if (Math.abs(last) > 1e-9 * largest)
    return `the loss at the whole length must be 0 and is ${last}; are the windows in ascending order?`
  return undefined
}

const fold = (curves: ReadonlyArray<ReadonlyArray<number>>, by: "sum" | "max"): ReadonlyArray<number> =>
  (curves[0] ?? []).map((_, w) => {
    const losses = curves.map((curve) => curve[w] ?? 0)
    return by === "sum" ? losses.reduce((sum, loss) => sum + loss, 0) : Math.max(...losses)
  })

/** The curves of heads that share a rule, added up. */
export const sharedCurves = (curves: Curves, share: "head" | "layer" | "model"): Curves => {
  if (share === "head") return curves
  const { headsPerLayer, layers, loss } = curves
  const [groups, size] = share === "layer" ? [layers, headsPerLayer] : [1, layers * headsPerLayer]
  return {
    ...curves,
    layers: groups,
    headsPerLayer: 1,
    loss: loss.map((byHead) =>
      Array.from({ length: groups }, (_, i) => fold(byHead.slice(i * size, (i + 1) * size), "sum"))
    )
  }
}

/** Checks that every head was profiled exactly once at every length, and folds query heads where asked. */
export const curvesOf = (
  rows: ReadonlyArray<InfluenceRow>,
  shape: AttentionShape,
  grouping: Grouping,
  groupLoss: "sum" | "max"
): Effect.Effect<Curves, OptimizerError> =>
  Effect.gen(function* () {
    const first = rows[0]
    if (first === undefined) return yield* invalid("the influence has no rows")
    const lengths = [...new Set(rows.map((row) => row.length))].sort((a, b) => a - b)
    const heads = shape.layers * shape.queryHeads
    const found = lengths.map(() =>
      Array.from({ length: heads }, (): ReadonlyArray<number> | undefined => undefined)
    )
    for (const row of rows) {
      const fault = wrong(row, first, shape)
      if (fault !== undefined) return yield* invalid(`influence at ${where(row)}: ${fault}`)
      const slots = found[lengths.indexOf(row.length)] ?? []
      const slot = row.layer * shape.queryHeads + row.head
      if (slots[slot] !== undefined)
        return yield* invalid(`influence at ${where(row)} is there twice; average it over items first`)
      slots[slot] = row.window
    }
    const group = grouping === "query-head" ? 1 : shape.queryHeads / shape.kvHeads
    const loss: Array<ReadonlyArray<ReadonlyArray<number>>> = []
    for (const [index, slots] of found.entries()) {
      const complete = slots.filter((slot) => slot !== undefined)
      if (complete.length !== heads) {
        const missing = slots.indexOf(undefined)
        return yield* invalid(
          `influence at length ${lengths[index]} lacks ${heads - complete.length} of ${heads} heads, ` +
            `the first being layer ${Math.floor(missing / shape.queryHeads)}, head ${missing % shape.queryHeads}`
        )
      }
      loss.push(
        Array.from({ length: heads / group }, (_, i) =>
          group === 1 ? (complete[i] ?? []) : fold(complete.slice(i * group, (i + 1) * group), groupLoss)
        )
      )
    }
    return {
      block: first.block,
      sink: first.sink,
      lengths,
      layers: shape.layers,
      headsPerLayer: shape.queryHeads / group,
      loss
    }
  })

/** A curve between its entries, linearly; past its end, the end. */
export const lossAt = (curve: ReadonlyArray<number>, window: number): number => {
  const at = Math.min(Math.max(window, 0), curve.length - 1)
  const low = Math.floor(at)
  const below = curve[low] ?? 0
  const above = curve[Math.min(low + 1, curve.length - 1)] ?? 0
  return at === low ? below : below + (above - below) * (at - low)
}
