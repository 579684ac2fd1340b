/**
 * Values of a leaf column, from what a file holds to what the port's column holds: exactly, or an error.
 */
import { isUtf8 } from "node:buffer"
import * as Arrow from "apache-arrow"
import type { DecodedArray } from "hyparquet"
import { parseFloat16 } from "hyparquet/src/convert.js"
import { timestampUnit, typeName } from "./ArrowTypes.js"
import { parquetError, type Place } from "./Errors.js"
import { nameOf } from "./Physical.js"
import { type LeafShape, mismatch } from "./Shape.js"

export type Numbers = Int32Array | BigInt64Array | Float32Array | Float64Array | Uint8Array

/** The values of a column chunk without its nulls. */
export type Dense =
  /** `Uint8Array`: one byte per boolean. */
  | { readonly kind: "numbers"; readonly values: Numbers }
  | { readonly kind: "texts"; readonly values: ReadonlyArray<Uint8Array> }

/** Takes the values of a column chunk page by page. */
export interface Sink {
  readonly length: number
  readonly append: (values: DecodedArray) => void
  readonly dictionary: (values: DecodedArray) => void
  readonly appendIndices: (indices: ArrayLike<number>) => void
  readonly finish: () => Dense
}

type Element = number | bigint | boolean | Uint8Array
type Convert = (value: never) => number | bigint

const int64Min = -(2n ** 63n)
const int64Max = 2n ** 63n - 1n

const outOfRange = (place: Place, value: unknown, what: string) =>
  parquetError("OutOfRange", place, `${String(value)} is not ${what}; cast the column where the file is made`)

const scaled = (
  place: Place,
  unit: "MILLIS" | "MICROS" | "NANOS",
  wanted: "MILLIS" | "MICROS"
): ((value: bigint) => bigint) => {
  const nanos = { MILLIS: 1_000_000n, MICROS: 1_000n, NANOS: 1n }
  const [from, to] = [nanos[unit], nanos[wanted]]
  return (value) => {
    const all = value * from
    const result = all / to
    if (result * to !== all || result < int64Min || result > int64Max) {
      throw outOfRange(
        place,
        value,
        `a whole number of ${wanted.toLowerCase()} in 64 bits (it is in ${unit.toLowerCase()})`
      )
    }
    return result
  }
}

const int96Nanos = (value: bigint): bigint =>
  ((value >> 64n) - 2440588n) * 86_400_000_000_000n + BigInt.asUintN(64, value)

/** How one value becomes the port's, `undefined` where the types do not go together. */
const converter = ({ type, physical }: LeafShape, place: Place): Convert | "same" | undefined => {
  const { kind } = physical
  if (kind === "int") {
    const { bits, signed } = physical
    // The file's integers arrive as signed ones.
    const exact = (value: number | bigint): bigint =>
      signed ? BigInt(value) : BigInt.asUintN(bits, BigInt(value))
    if (Arrow.DataType.isInt(type)) {
      if (type.bitWidth === bits && signed) return "same"
      return (value: number | bigint) => {
        const whole = exact(value)
        if (BigInt.asIntN(type.bitWidth, whole) !== whole)
          throw outOfRange(place, whole, `an int${type.bitWidth}`)
        return type.bitWidth === 32 ? Number(whole) : whole
      }
    }
    if (Arrow.DataType.isFloat(type)) {
      const round = type.precision === Arrow.Precision.DOUBLE ? Number : Math.fround
      return (value: number | bigint) => {
        const whole = exact(value)
        const rounded = round(Number(whole))
        if (BigInt(rounded) !== whole)
          throw outOfRange(place, whole, `exact as ${typeName(type).toLowerCase()}`)
        return rounded
      }
    }
    return undefined
  }
  if (kind === "float" || kind === "double" || kind === "float16") {
    if (!Arrow.DataType.isFloat(type)) return undefined
    if (kind === "float16") return (value: Uint8Array) => parseFloat16(value) ?? Number.NaN
    const double = type.precision === Arrow.Precision.DOUBLE
    if (double || kind === "float") return "same"
    return (value: number) => {
      if (!Object.is(Math.fround(value), value)) throw outOfRange(place, value, "exact as float32")
      return value
    }
  }
  if (kind === "timestamp" || kind === "int96") {
    const wanted = timestampUnit(type)
    if (wanted === undefined) return undefined
    if (kind === "timestamp") return physical.unit === wanted ? "same" : scaled(place, physical.unit, wanted)
    const scale = scaled(place, "NANOS", wanted)
    return (value: bigint) => scale(int96Nanos(value))
  }
  if (kind === "bool" && Arrow.DataType.isBool(type)) return (value: boolean | number) => (value ? 1 : 0)
  return undefined
}

const allocate = (type: Arrow.DataType, length: number): Numbers => {
  if (Arrow.DataType.isBool(type)) return new Uint8Array(length)
  if (Arrow.DataType.isInt(type))
    return type.bitWidth === 64 ? new BigInt64Array(length) : new Int32Array(length)
  if (Arrow.DataType.isFloat(type)) {
    return type.precision === Arrow.Precision.DOUBLE ? new Float64Array(length) : new Float32Array(length)
  }
  return new BigInt64Array(length)
}

const noValue = (place: Place) =>
  parquetError("Corrupt", place, "refers to a value that its dictionary does not have; fetch the file again")

/** Copies `from` into `to`: as one block where both are of one type. */
const put = (to: Numbers, from: DecodedArray, at: number, convert: Convert | "same", place: Place): void => {
  if (at + from.length > to.length) {
    throw parquetError("Corrupt", place, "has more values than its footer says; fetch the file again")
  }
  if (convert === "same") {
    // Both of big integers, or both of numbers: `converter` saw to it.
    to.set(from as never, at)
    return
  }
  for (let i = 0; i < from.length; i++) to[at + i] = convert(from[i] as never) as never
}

const numberSink = (leaf: LeafShape, convert: Convert | "same", capacity: number, place: Place): Sink => {
  const values = allocate(leaf.type, capacity)
  let dictionary = allocate(leaf.type, 0)
  let length = 0
  return {
    get length() {
      return length
    },
    append: (page) => {
      put(values, page, length, convert, place)
      length += page.length
    },
    dictionary: (page) => {
      dictionary = allocate(leaf.type, page.length)
      put(dictionary, page, 0, convert, place)
    },
    appendIndices: (indices) => {
      if (length + indices.length > values.length) throw noValue(place)
      for (let i = 0; i < indices.length; i++) {
        const index = indices[i] ?? -1
        if (index < 0 || index >= dictionary.length) throw noValue(place)
        values[length + i] = dictionary[index] as never
      }
      length += indices.length
    },
    finish: () => ({ kind: "numbers", values: values.subarray(0, length) })
  }
}

const textSink = (place: Place): Sink => {
  const values: Array<Uint8Array> = []
  let dictionary: ReadonlyArray<Uint8Array> = []
  const checked = (page: DecodedArray): ReadonlyArray<Uint8Array> =>
    Array.from(page as ArrayLike<Element>, (value) => {
      if (!(value instanceof Uint8Array) || !isUtf8(value)) {
        throw parquetError(
          "OutOfRange",
          place,
          "has text that is not UTF-8; store it as binary and decode it first"
        )
      }
      return value
    })
  return {
    get length() {
      return values.length
    },
    append: (page) => {
      for (const value of checked(page)) values.push(value)
    },
    dictionary: (page) => {
      dictionary = checked(page)
    },
    appendIndices: (indices) => {
      for (let i = 0; i < indices.length; i++) {
        const value = dictionary[indices[i] ?? -1]
        if (value === undefined) throw noValue(place)
        values.push(value)
      }
    },
    finish: () => ({ kind: "texts", values })
  }
}

/** What takes a leaf's values. Throws ParquetError where the port's type is another. */
export const sink = (leaf: LeafShape, capacity: number, place: Place): Sink => {
  if (leaf.physical.kind === "text" && Arrow.DataType.isUtf8(leaf.type)) return textSink(place)
  const convert = converter(leaf, place)
  if (convert === undefined) throw mismatch(place, nameOf(leaf.physical), leaf.type)
  return numberSink(leaf, convert, capacity, place)
}
