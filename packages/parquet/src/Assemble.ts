/**
 * From a column chunk (levels and values, as Parquet has them) to Arrow data (offsets, validity and values).
 */
import * as Arrow from "apache-arrow"
import { parquetError, type Place } from "./Errors.js"
import type { Chunk } from "./Pages.js"
import type { LeafShape, ListShape, Shape } from "./Shape.js"
import type { Numbers } from "./Values.js"

/** Which places there are, and which of them hold something. */
interface Slots {
  readonly length: number
  readonly nullCount: number
  /** One byte per slot, 1 where something is; undefined where every slot holds something. */
  readonly valid: Uint8Array | undefined
}

const bitmap = ({ valid }: Slots): Uint8Array | undefined => {
  if (valid === undefined) return undefined
  const bits = new Uint8Array((valid.length + 7) >> 3)
  for (let i = 0; i < valid.length; i++)
    if (valid[i] === 1) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7))
  return bits
}

/** The slots of a shape among the entries: one for each element of the list around it, or for each row. */
const slotsOf = (
  { definition, repetition }: Chunk,
  present: number,
  around: ListShape | undefined,
  entries: number,
  own: number
): Slots => {
  const element = around?.element ?? 0
  // A flat column of values that are all there has no levels.
  if (definition.length === 0) return { length: entries, nullCount: 0, valid: undefined }
  const valid = new Uint8Array(entries)
  let length = 0
  let full = 0
  for (let i = 0; i < entries; i++) {
    const level = definition[i] ?? 0
    // An entry of a higher repetition level goes on with a list inside of this slot.
    if (level < element || (repetition.length > 0 && (repetition[i] ?? 0) > own)) continue
    if (level >= present) {
      valid[length] = 1
      full++
    }
    length++
  }
  const nullCount = length - full
  return { length, nullCount, valid: nullCount === 0 ? undefined : valid.subarray(0, length) }
}

const refuseNulls = (shape: Shape, { nullCount }: Slots, place: Place): void => {
  if (nullCount > 0 && !shape.nullable) {
    throw parquetError(
      "OutOfRange",
      place,
      `has ${nullCount} nulls where none may be; fill them in, or drop those rows`
    )
  }
}

/** Dense values at their slots; what lies under a null is zero. */
const spread = (values: Numbers, { length, valid }: Slots): Numbers => {
  if (valid === undefined) return values
  const placed = new (values.constructor as new (length: number) => Numbers)(length)
  let next = 0
  for (let i = 0; i < length; i++) if (valid[i] === 1) placed[i] = values[next++] as never
  return placed
}

const texts = (values: ReadonlyArray<Uint8Array>, { length, valid }: Slots, place: Place) => {
  const size = values.reduce((sum, { length }) => sum + length, 0)
  if (size > 0x7fffffff) {
    throw parquetError("Unsupported", place, "has more than 2 GiB of text; write it with smaller row groups")
  }
  const offsets = new Int32Array(length + 1)
  const data = new Uint8Array(size)
  let end = 0
  let next = 0
  for (let i = 0; i < length; i++) {
    const value = valid === undefined || valid[i] === 1 ? values[next++] : undefined
    if (value !== undefined) {
      data.set(value, end)
      end += value.length
    }
    offsets[i + 1] = end
  }
  return { valueOffsets: offsets, data }
}

const leafData = (shape: LeafShape, chunk: Chunk, slots: Slots, place: Place): Arrow.Data => {
  const { dense } = chunk
  const common = {
    type: shape.type,
    length: slots.length,
    nullCount: slots.nullCount,
    nullBitmap: bitmap(slots)
  }
  if (dense.kind === "texts")
    return Arrow.makeData({ ...common, ...texts(dense.values, slots, place) } as never)
  const values = spread(dense.values, slots)
  const data = Arrow.DataType.isBool(shape.type)
    ? bitmap({ length: values.length, nullCount: 0, valid: values as Uint8Array })
    : values
  return Arrow.makeData({ ...common, data } as never)
}

/** Elements of each list, 0 where it is null. */
const lengthsOf = ({ definition, repetition }: Chunk, shape: ListShape, around: number, slots: Slots) => {
  const lengths = new Int32Array(slots.length)
  const own = shape.repetition - 1
  let slot = -1
  for (let i = 0; i < definition.length; i++) {
    const level = definition[i] ?? 0
    const repeats = repetition[i] ?? 0
    if (repeats <= own && level >= around) slot++
    if (repeats <= shape.repetition && level >= shape.element) lengths[slot] = (lengths[slot] ?? 0) + 1
  }
  return lengths
}

/** Arrow keeps room for the items of a null. */
const spaced = (
  type: Arrow.DataType,
  items: Float32Array,
  { length, valid }: Slots,
  size: number
): Arrow.Data => {
  const data = new Float32Array(length * size)
  let next = 0
  for (let i = 0; i < length; i++) {
    if (valid?.[i] !== 1) continue
    data.set(items.subarray(next, next + size), i * size)
    next += size
  }
  return Arrow.makeData({ type, length: data.length, nullCount: 0, data } as never)
}

const fixedData = (
  shape: ListShape,
  type: Arrow.FixedSizeList,
  item: Arrow.Data,
  slots: Slots,
  lengths: Int32Array,
  place: Place
) => {
  const size = type.listSize
  for (let i = 0; i < lengths.length; i++) {
    const length = lengths[i] ?? 0
    if (length !== size && (slots.valid === undefined || slots.valid[i] === 1)) {
      throw parquetError(
        "OutOfRange",
        place,
        `has a list of ${length} where each has ${size}; check how it was made`
      )
    }
  }
  const nulls = slots.nullCount > 0
  const numbers: unknown = item.values
  if (nulls && (item.nullCount > 0 || !(numbers instanceof Float32Array))) {
    throw parquetError(
      "Unsupported",
      place,
      "has nulls among lists of a fixed length that are not of float32"
    )
  }
  const child = numbers instanceof Float32Array && nulls ? spaced(item.type, numbers, slots, size) : item
  return Arrow.makeData({
    type: shape.type,
    length: slots.length,
    nullCount: slots.nullCount,
    nullBitmap: bitmap(slots),
    child
  } as never)
}

const build = (
  shape: Shape,
  chunk: Chunk,
  around: ListShape | undefined,
  entries: number,
  place: Place
): Arrow.Data => {
  const slots = slotsOf(chunk, shape.present, around, entries, around?.repetition ?? 0)
  refuseNulls(shape, slots, place)
  if (shape.kind === "leaf") return leafData(shape, chunk, slots, place)
  const item = build(shape.item, chunk, shape, entries, place)
  const lengths = lengthsOf(chunk, shape, around?.element ?? 0, slots)
  if (Arrow.DataType.isFixedSizeList(shape.type)) {
    return fixedData(shape, shape.type, item, slots, lengths, place)
  }
  const valueOffsets = new Int32Array(slots.length + 1)
  for (let i = 0; i < slots.length; i++) valueOffsets[i + 1] = (valueOffsets[i] ?? 0) + (lengths[i] ?? 0)
  return Arrow.makeData({
    type: shape.type,
    length: slots.length,
    nullCount: slots.nullCount,
    nullBitmap: bitmap(slots),
    valueOffsets,
    child: item
  } as never)
}

/** The Arrow data of one column of one row group. Throws ParquetError where a value does not fit the port. */
export const assemble = (shape: Shape, chunk: Chunk, rows: number, place: Place): Arrow.Data => {
  const { dense, definition } = chunk
  const data = build(
    shape,
    chunk,
    undefined,
    definition.length === 0 ? dense.values.length : definition.length,
    place
  )
  if (data.length !== rows) {
    throw parquetError(
      "Corrupt",
      place,
      `has ${data.length} rows where the row group has ${rows}; fetch the file again`
    )
  }
  return data
}
