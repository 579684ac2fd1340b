/**
 * By how much a plan exceeds its couplings. Those of a single layer, of which there may be hundreds, are looked at only
 * where a move changes that layer.
 */
import type { Move } from "./Moves.js"
import type { Separable } from "./Separable.js"

/** As shares of the couplings' units. */
export interface Shortfall {
  /** With up to two moves made; exactly 0 where all couplings are met. */
  readonly missing: (a?: Move, b?: Move) => number
  /** To be told of each layer that changed. */
  readonly changed: (layer: number) => void
}

/** @param used by coupling; may change, and `changed` is told */
export const shortfall = ({ couplings, layers }: Separable, used: Float64Array): Shortfall => {
  const limits = Float64Array.from(couplings, (of) => of.most)
  const units = Float64Array.from(couplings, (of) => of.unit)
  const shared = Int32Array.from(couplings.keys()).filter((k) => couplings[k]?.layer === undefined)
  const own = Array.from({ length: layers }, (_, layer) =>
    Int32Array.from(couplings.keys()).filter((k) => couplings[k]?.layer === layer)
  )
  const over = (of: Int32Array, a: Move | undefined, b: Move | undefined): number => {
    let sum = 0
    for (let i = 0; i < of.length; i++) {
      const k = of[i] as number
      let over = (used[k] as number) - (limits[k] as number)
      if (a !== undefined) over += a.usage[k] as number
      if (b !== undefined) over += b.usage[k] as number
      if (over > 0) sum += over / (units[k] as number)
    }
    return sum
  }
  const inLayer = (layer: number, a?: Move, b?: Move) => over(own[layer] as Int32Array, a, b)
  const single = couplings.length > shared.length
  const byLayer = Float64Array.from({ length: layers }, (_, layer) => inLayer(layer))
  const sumOf = () => byLayer.reduce((sum, of) => sum + of, 0)
  let inLayers = sumOf()
  return {
    missing: (a, b) => {
      let sum = over(shared, a, b)
      if (!single) return sum
      sum += inLayers
      // Of a sum of 0 nothing is left by taking away.
      if (a !== undefined) sum += inLayer(a.layer, a, b) - (byLayer[a.layer] as number)
      if (b !== undefined && b.layer !== a?.layer)
        sum += inLayer(b.layer, a, b) - (byLayer[b.layer] as number)
      return sum
    },
    changed: (layer) => {
      if (!single) return
      byLayer[layer] = inLayer(layer)
      inLayers = sumOf()
    }
  }
}
