/**
 * Single rows of a stored table, by their positions.
 */
import * as Arrow from "apache-arrow"
import { plain } from "./CanonicalTable.js"

/** Visits positions, ascending, chunk by chunk: `at` is the position within the chunk, `i` counts them. */
const visit = <T extends Arrow.DataType>(
  vector: Arrow.Vector<T>,
  rows: Int32Array,
  each: (chunk: Arrow.Data<T>) => (at: number, i: number) => void
): void => {
  let i = 0
  let start = 0
  for (const chunk of vector.data) {
    const end = start + chunk.length
    const take = each(chunk)
    for (; i < rows.length; i++) {
      const row = rows[i] ?? 0
      if (row >= end) break
      take(row - start, i)
    }
    start = end
  }
}

type Values = Int32Array | Float32Array

const numbers = (vector: Arrow.Vector, rows: Int32Array): Arrow.Data => {
  // All fixed-width arrays behave alike here.
  const values = new vector.ArrayType(rows.length) as Values
  visit(vector, rows, (chunk) => {
    const from = chunk.values as Values
    return (at, i) => {
      values[i] = from[at] ?? 0
    }
  })
  return Arrow.makeData({ type: vector.type, length: rows.length, nullCount: 0, data: values } as never)
}

/** Offsets of the taken rows, and where each was. */
const spans = (vector: Arrow.Vector<Arrow.List | Arrow.Utf8>, rows: Int32Array) => {
  const offsets = new Int32Array(rows.length + 1)
  visit(vector, rows, ({ valueOffsets }) => (at, i) => {
    offsets[i + 1] = (offsets[i] ?? 0) + (valueOffsets[at + 1] ?? 0) - (valueOffsets[at] ?? 0)
  })
  return offsets
}

const copySpans = (
  vector: Arrow.Vector<Arrow.List | Arrow.Utf8>,
  rows: Int32Array,
  offsets: Int32Array,
  into: Values | Uint8Array,
  valuesOf: (chunk: Arrow.Data) => Values | Uint8Array
): void =>
  visit(vector, rows, (chunk) => {
    const values = valuesOf(chunk)
    const { valueOffsets } = chunk
    return (at, i) => into.set(values.subarray(valueOffsets[at], valueOffsets[at + 1]), offsets[i])
  })

const texts = (vector: Arrow.Vector<Arrow.Utf8>, rows: Int32Array): Arrow.Data => {
  const valueOffsets = spans(vector, rows)
  const data = new Uint8Array(valueOffsets[rows.length] ?? 0)
  copySpans(vector, rows, valueOffsets, data, ({ values }) => values as Uint8Array)
  return Arrow.makeData({ type: vector.type, length: rows.length, nullCount: 0, valueOffsets, data })
}

const isNumber = (type: Arrow.DataType): boolean => Arrow.DataType.isInt(type) || Arrow.DataType.isFloat(type)

const numberLists = (vector: Arrow.Vector<Arrow.List>, rows: Int32Array): Arrow.Data => {
  const valueOffsets = spans(vector, rows)
  const type = vector.type.valueType
  const length = valueOffsets[rows.length] ?? 0
  const data = new type.ArrayType(length) as Values
  copySpans(vector, rows, valueOffsets, data, ({ children }) => children[0]?.values as Values)
  const child = Arrow.makeData({ type, length, nullCount: 0, data } as never)
  return Arrow.makeData({ type: vector.type, length: rows.length, nullCount: 0, valueOffsets, child })
}

const childrenAreWhole = (vector: Arrow.Vector): boolean =>
  vector.data.every(({ children }) => children.every(({ nullCount }) => nullCount === 0))

/**
 * @param rows positions, ascending.
 */
export const take = (vector: Arrow.Vector, rows: Int32Array): Arrow.Vector => {
  const { type } = vector
  if (vector.nullCount === 0) {
    if (isNumber(type) || Arrow.DataType.isTimestamp(type)) return new Arrow.Vector([numbers(vector, rows)])
    if (Arrow.DataType.isUtf8(type))
      return new Arrow.Vector([texts(vector as Arrow.Vector<Arrow.Utf8>, rows)])
    if (Arrow.DataType.isList(type) && isNumber(type.valueType) && childrenAreWhole(vector))
      return new Arrow.Vector([numberLists(vector as Arrow.Vector<Arrow.List>, rows)])
  }
  const builder = Arrow.makeBuilder({ type, nullValues: [null, undefined] })
  for (const row of rows) builder.append(plain(vector.get(row)))
  return builder.finish().toVector()
}
