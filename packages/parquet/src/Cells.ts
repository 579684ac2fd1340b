/**
 * The cells of Arrow columns as writers take them: typed arrays where they can be, text as its bytes.
 */
import { isUtf8 } from "node:buffer"
import * as Arrow from "apache-arrow"
import { isList, typeName } from "./ArrowTypes.js"
import { parquetError, type Place } from "./Errors.js"

type Cell = boolean | number | bigint | Uint8Array | ReadonlyArray<unknown> | null
export type Cells = ReadonlyArray<Cell> | Int32Array | BigInt64Array | Float32Array | Float64Array

const isNumeric = (type: Arrow.DataType) =>
  Arrow.DataType.isInt(type) || Arrow.DataType.isFloat(type) || Arrow.DataType.isTimestamp(type)

const withNulls = (data: Arrow.Data, cell: (index: number) => Cell): ReadonlyArray<Cell> =>
  Array.from({ length: data.length }, (_, i) => (data.getValid(i) ? cell(i) : null))

const texts = (data: Arrow.Data, place: Place): ReadonlyArray<Cell> => {
  const bytes: Uint8Array = data.values
  return withNulls(data, (i) => {
    const text = bytes.subarray(data.valueOffsets[i], data.valueOffsets[i + 1])
    if (!isUtf8(text))
      throw parquetError("OutOfRange", place, "has text that is not UTF-8; check how it was made")
    return text
  })
}

const lists = (data: Arrow.Data, place: Place): ReadonlyArray<Cell> => {
  const { type, children } = data
  const [item] = children
  if (item === undefined) throw parquetError("Unsupported", place, "is a list without an item type")
  const offsets: Int32Array | undefined = data.valueOffsets
  const size = Arrow.DataType.isFixedSizeList(type) ? type.listSize : 0
  const from = (i: number) => (offsets === undefined ? i * size : (offsets[i] ?? 0))
  const [first, last] = [from(0), from(data.length)]
  const items = cellsOfData(item.slice(first, last - first), place)
  return withNulls(data, (i) => Array.from(items.slice(from(i) - first, from(i + 1) - first)))
}

const encoded = (data: Arrow.Data, place: Place): ReadonlyArray<Cell> => {
  const dictionary = data.dictionary?.data.flatMap((chunk) => [...cellsOfData(chunk, place)]) ?? []
  const indices = data.values as ArrayLike<number | bigint>
  return withNulls(data, (i) => dictionary[Number(indices[i])] ?? null)
}

const cellsOfData = (data: Arrow.Data, place: Place): Cells => {
  const { type, length } = data
  if (Arrow.DataType.isDictionary(type)) return encoded(data, place)
  if (Arrow.DataType.isUtf8(type)) return texts(data, place)
  if (Arrow.DataType.isBool(type)) {
    const bits: Uint8Array = data.values
    return withNulls(data, (i) => {
      const at = data.offset + i
      return ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0
    })
  }
  if (isNumeric(type)) {
    const values = data.values.subarray(0, length) as Exclude<Cells, ReadonlyArray<Cell>>
    return data.nullCount === 0 ? values : withNulls(data, (i) => values[i] ?? null)
  }
  if (isList(type)) return lists(data, place)
  throw parquetError(
    "Unsupported",
    place,
    `is ${typeName(type)}, which is not written; use a column type of core`
  )
}

const join = (parts: ReadonlyArray<Cells>): Cells => {
  const [head, ...rest] = parts
  if (head === undefined) return []
  if (rest.length === 0) return head
  if (parts.some((part) => Array.isArray(part))) return parts.flatMap((part) => [...part])
  const typed = parts as ReadonlyArray<Exclude<Cells, ReadonlyArray<Cell>>>
  const length = typed.reduce((sum, part) => sum + part.length, 0)
  const all = new (head.constructor as new (length: number) => Int32Array)(length)
  let at = 0
  for (const part of typed) {
    all.set(part as Int32Array, at)
    at += part.length
  }
  return all
}

/** The cells of a column. Throws ParquetError where it has nulls or text that may not be. */
export const cellsOf = (field: Arrow.Field, vector: Arrow.Vector, place: Place): Cells => {
  if (!field.nullable && vector.nullCount > 0) {
    throw parquetError(
      "OutOfRange",
      place,
      `has ${vector.nullCount} nulls where none may be; declare it nullable`
    )
  }
  return join(vector.data.map((data) => cellsOfData(data, place)))
}

const dataSize = (data: Arrow.Data): number => {
  if (data.length === 0) return 0
  const { type, valueOffsets, children, length } = data
  if (Arrow.DataType.isDictionary(type)) return 16 * length
  const [first, last] = [Number(valueOffsets?.[0] ?? 0), Number(valueOffsets?.[length] ?? 0)]
  if (Arrow.DataType.isUtf8(type)) return last - first + 4 * length
  const [item] = children
  if (item === undefined) return 8 * length
  return 4 * length + dataSize(valueOffsets === undefined ? item : item.slice(first, last - first))
}

/** About how many bytes the values of a column take. */
export const byteSize = (vector: Arrow.Vector | null): number =>
  (vector?.data ?? []).reduce((sum, data) => sum + dataSize(data), 0)
