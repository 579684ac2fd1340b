/** Tables of every column type: how their Arrow data is made from cells and read back, independently of the codec. */
import {
  arrowSchema,
  recordBatch,
  bool,
  type Column,
  type Fields,
  float32,
  float64,
  int32,
  int64,
  list,
  nullable,
  table,
  type Table,
  timestampMicros,
  timestampMillis,
  utf8,
  vec
} from "@tessera/core"
import * as Arrow from "apache-arrow"
import fc from "fast-check"

/** Plain values: text, booleans, numbers, bigints (int64 and timestamps), arrays, null. */
export type Cell = null | boolean | number | bigint | string | ReadonlyArray<Cell>

const bits = (flags: ReadonlyArray<boolean>): Uint8Array => {
  const bytes = new Uint8Array((flags.length + 7) >> 3)
  flags.forEach((flag, i) => {
    if (flag) bytes[i >> 3] = (bytes[i >> 3] ?? 0) | (1 << (i & 7))
  })
  return bytes
}

const numbers = (type: Arrow.DataType, cells: ReadonlyArray<Cell>) => {
  const wide = (cell: Cell) => (typeof cell === "bigint" ? cell : 0n)
  const plain = (cell: Cell) => (typeof cell === "number" ? cell : 0)
  if (Arrow.DataType.isInt(type) && type.bitWidth === 32) return Int32Array.from(cells, plain)
  if (!Arrow.DataType.isFloat(type)) return BigInt64Array.from(cells, wide)
  return type.precision === Arrow.Precision.DOUBLE
    ? Float64Array.from(cells, plain)
    : Float32Array.from(cells, plain)
}

const isArray = (cell: Cell): cell is ReadonlyArray<Cell> => Array.isArray(cell)

export const arrowData = (type: Arrow.DataType, cells: ReadonlyArray<Cell>): Arrow.Data => {
  const valid = cells.map((cell) => cell !== null)
  const nullCount = valid.filter((there) => !there).length
  const common = { type, length: cells.length, nullCount, nullBitmap: bits(valid) }
  if (Arrow.DataType.isUtf8(type)) {
    const texts = cells.map((cell) => Buffer.from(typeof cell === "string" ? cell : ""))
    const valueOffsets = new Int32Array(cells.length + 1)
    texts.forEach((text, i) => (valueOffsets[i + 1] = (valueOffsets[i] ?? 0) + text.length))
    return Arrow.makeData({ ...common, valueOffsets, data: new Uint8Array(Buffer.concat(texts)) } as never)
  }
  if (Arrow.DataType.isBool(type)) {
    return Arrow.makeData({ ...common, data: bits(cells.map((cell) => cell === true)) } as never)
  }
  const [item] = type.children ?? []
  if (item !== undefined) {
    const size = Arrow.DataType.isFixedSizeList(type) ? type.listSize : undefined
    const room: ReadonlyArray<Cell> = size === undefined ? [] : Array.from({ length: size }, () => 0)
    const items = cells.map((cell) => (cell !== null && isArray(cell) ? cell : room))
    const child = arrowData(item.type, items.flat(1) as ReadonlyArray<Cell>)
    const valueOffsets = new Int32Array(cells.length + 1)
    items.forEach((cell, i) => (valueOffsets[i + 1] = (valueOffsets[i] ?? 0) + cell.length))
    return Arrow.makeData({ ...common, child, ...(size === undefined ? { valueOffsets } : {}) } as never)
  }
  return Arrow.makeData({ ...common, data: numbers(type, cells) } as never)
}

const cellAt = (data: Arrow.Data, i: number): Cell => {
  if (!data.getValid(i)) return null
  const { type, values, valueOffsets, children } = data
  if (Arrow.DataType.isUtf8(type)) {
    return Buffer.from((values as Uint8Array).subarray(valueOffsets[i], valueOffsets[i + 1])).toString()
  }
  if (Arrow.DataType.isBool(type)) {
    const at = data.offset + i
    return (((values as Uint8Array)[at >> 3] ?? 0) & (1 << (at & 7))) !== 0
  }
  const [child] = children
  if (child !== undefined) {
    const size = Arrow.DataType.isFixedSizeList(type) ? type.listSize : undefined
    const from = size === undefined ? (valueOffsets[i] ?? 0) : i * size
    const to = size === undefined ? (valueOffsets[i + 1] ?? 0) : from + size
    return Array.from({ length: to - from }, (_, j) => cellAt(child, from + j))
  }
  return (values as ArrayLike<number | bigint>)[i] ?? null
}

export const cells = (vector: Arrow.Vector | null): ReadonlyArray<Cell> =>
  (vector?.data ?? []).flatMap((data) => Array.from({ length: data.length }, (_, i) => cellAt(data, i)))

/** All columns of a table as plain values. */
export const columns = (content: Arrow.Table): Readonly<Record<string, ReadonlyArray<Cell>>> =>
  Object.fromEntries(content.schema.fields.map(({ name }) => [name, cells(content.getChild(name))]))

/** An Arrow table of these columns, in as many batches as there are sizes. */
export const arrow = (
  of: Table<Fields>,
  content: Readonly<Record<string, ReadonlyArray<Cell>>>,
  batchRows = Infinity
): Arrow.Table => {
  const schema = arrowSchema(of)
  const rows = Object.values(content)[0]?.length ?? 0
  const batches: Array<Arrow.RecordBatch> = []
  for (let from = 0; from < rows || from === 0; from += Math.max(1, Math.min(batchRows, rows))) {
    const to = Math.min(rows, from + batchRows)
    const children = schema.fields.map(({ name, type }) =>
      arrowData(type, content[name]?.slice(from, to) ?? [])
    )
    batches.push(recordBatch(schema, children, to - from))
  }
  return new Arrow.Table(schema, batches)
}

interface Kind {
  readonly column: Column.Any
  readonly cell: fc.Arbitrary<Cell>
}

const float = fc.oneof(fc.float({ noDefaultInfinity: false }), fc.constantFrom(-0, NaN, Infinity, -Infinity))
const double = fc.oneof(fc.double(), fc.constantFrom(-0, NaN, Infinity, -Infinity, 5e-324, 0.1))
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("", "\uFEFFbegins with a mark", "naïve – 東京 🦊", "\0", "constructor", "x".repeat(30))
)
const wide = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n + 1n, 0n)
)
const narrow = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, 5)
)

const listOf = (cell: fc.Arbitrary<Cell>): fc.Arbitrary<Cell> => fc.array(cell, { maxLength: 4 })
const orNull = (cell: fc.Arbitrary<Cell>): fc.Arbitrary<Cell> => fc.option(cell, { freq: 2 })

/** Every column type of core, and lists and nulls of it. */
export const kinds: Readonly<Record<string, Kind>> = {
  utf8: { column: utf8, cell: text },
  bool: { column: bool, cell: fc.boolean() },
  int32: { column: int32, cell: narrow },
  int64: { column: int64, cell: wide },
  float32: { column: float32, cell: float },
  float64: { column: float64, cell: double },
  millis: { column: timestampMillis, cell: wide },
  micros: { column: timestampMicros, cell: wide },
  vec: { column: vec(3), cell: fc.array(float, { minLength: 3, maxLength: 3 }) },
  maybe_utf8: { column: nullable(utf8), cell: orNull(text) },
  maybe_bool: { column: nullable(bool), cell: orNull(fc.boolean()) },
  maybe_int32: { column: nullable(int32), cell: orNull(narrow) },
  maybe_int64: { column: nullable(int64), cell: orNull(wide) },
  maybe_float32: { column: nullable(float32), cell: orNull(float) },
  maybe_float64: { column: nullable(float64), cell: orNull(double) },
  maybe_micros: { column: nullable(timestampMicros), cell: orNull(wide) },
  maybe_vec: { column: nullable(vec(2)), cell: orNull(fc.array(float, { minLength: 2, maxLength: 2 })) },
  texts: { column: list(utf8), cell: listOf(text) },
  flags: { column: list(bool), cell: listOf(fc.boolean()) },
  ints: { column: list(int32), cell: listOf(narrow) },
  longs: { column: list(nullable(int64)), cell: listOf(orNull(wide)) },
  floats: { column: nullable(list(float32)), cell: orNull(listOf(float)) },
  doubles: { column: nullable(list(nullable(float64))), cell: orNull(listOf(orNull(double))) },
  times: { column: list(timestampMillis), cell: listOf(wide) },
  vectors: { column: list(vec(2)), cell: listOf(fc.array(float, { minLength: 2, maxLength: 2 })) },
  nested: { column: list(list(int32)), cell: listOf(listOf(narrow)) },
  holey: {
    column: nullable(list(nullable(list(nullable(utf8))))),
    cell: orNull(listOf(orNull(listOf(orNull(text)))))
  }
}

export type Columns = Readonly<Record<string, ReadonlyArray<Cell>>>

/** Columns of all kinds. */
export const Everything: Table<Fields> = table(
  "Everything/1",
  Object.fromEntries(Object.entries(kinds).map(([name, { column }]) => [name, column]))
)

/** Rows of some kinds. */
export const columnsOf = (names: ReadonlyArray<string>, maxLength = 40): fc.Arbitrary<Columns> =>
  fc
    .integer({ min: 0, max: maxLength })
    .chain((rows) =>
      fc.record(
        Object.fromEntries(
          names.map((name) => [
            name,
            fc.array(kinds[name]?.cell ?? fc.constant(null), { minLength: rows, maxLength: rows })
          ])
        )
      )
    )

/** A table of some kinds. */
export const tableOf = (names: ReadonlyArray<string>): Table<Fields> =>
  table("Some/1", Object.fromEntries(names.map((name) => [name, kinds[name]?.column ?? utf8])))
