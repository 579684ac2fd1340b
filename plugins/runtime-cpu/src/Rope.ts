/**
 * Rotary position embedding: cosines and sines by position, with Llama 3's frequency scaling where the config has it
 * (transformers' `rope_type: "llama3"`).
 */
import type { LlamaConfig } from "@tessera/runtime"

const frequencies = ({ headDim, ropeTheta, ropeScaling }: LlamaConfig): ReadonlyArray<number> =>
  Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = ropeTheta ** ((-2 * i) / headDim)
    if (ropeScaling === undefined) return frequency
    const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = ropeScaling
    const wavelength = (2 * Math.PI) / frequency
    if (wavelength < originalMaxPositions / high) return frequency
    if (wavelength > originalMaxPositions / low) return frequency / factor
    const smooth = (originalMaxPositions / wavelength - low) / (high - low)
    return ((1 - smooth) * frequency) / factor + smooth * frequency
  })

export interface Rope {
  /** [positions, head dim], both halves alike, for positions from 0 to at least `length`. */
  readonly upTo: (length: number) => { readonly cos: Float32Array; readonly sin: Float32Array }
}

export const make = (config: LlamaConfig): Rope => {
  const { headDim } = config
  const half = frequencies(config)
  let cos = new Float32Array(0)
  let sin = new Float32Array(0)
  return {
    upTo: (length) => {
      const known = cos.length / headDim
      if (length > known) {
        const positions = Math.max(length, 2 * known, 256)
        cos = new Float32Array(positions * headDim)
        sin = new Float32Array(positions * headDim)
        for (let position = 0; position < positions; position++) {
          for (let i = 0; i < headDim; i++) {
            // Angles in double precision: a float32 angle is off by 1e-4 at position 8,192 already.
            const angle = position * (half[i % half.length] ?? 0)
            cos[position * headDim + i] = Math.cos(angle)
            sin[position * headDim + i] = Math.sin(angle)
          }
        }
      }
      return { cos, sin }
    }
  }
}
