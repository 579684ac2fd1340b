/**
 * The float formats of stored weights. Bytes are little-endian, as is every platform Node runs models on.
 */
export type FloatFormat = "BF16" | "F16" | "F32"

/** Bytes of one number. */
export const floatBytes: Readonly<Record<FloatFormat, number>> = { BF16: 2, F16: 2, F32: 4 }

const half = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

let halves: Float32Array | undefined
// A table of all 65,536 values is smaller than one layer's weights and far faster than the arithmetic.
const halfTable = () => (halves ??= Float32Array.from({ length: 0x10000 }, (_, bits) => half(bits)))

/**
 * Stored numbers as float32; exact for all three formats.
 *
 * @param bytes a whole number of numbers, aligned to their size.
 */
export const decodeFloats = (format: FloatFormat, bytes: Uint8Array): Float32Array => {
  const count = bytes.byteLength / floatBytes[format]
  switch (format) {
    case "F32":
      return new Float32Array(bytes.buffer, bytes.byteOffset, count)
    case "BF16": {
      const stored = new Uint16Array(bytes.buffer, bytes.byteOffset, count)
      const bits = new Uint32Array(count)
      for (let i = 0; i < count; i++) bits[i] = (stored[i] ?? 0) << 16
      return new Float32Array(bits.buffer)
    }
    case "F16": {
      const stored = new Uint16Array(bytes.buffer, bytes.byteOffset, count)
      const table = halfTable()
      const data = new Float32Array(count)
      for (let i = 0; i < count; i++) data[i] = table[stored[i] ?? 0] ?? 0
      return data
    }
  }
}
