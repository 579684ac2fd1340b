/**
 * Canonical bytes of a table: equal rows give equal bytes, whatever batches, offsets, padding or junk under nulls they
 * came with. apache-arrow alone does not give that.
 */
import { isUtf8 } from "node:buffer"
import { ArtifactError, arrowSchema, type Fields, recordBatch, type Table } from "@tessera/core"
import * as Arrow from "apache-arrow"

/** Rows per record batch of a stored table. */
export const BATCH_ROWS = 65_536

const isFixedWidth = (type: Arrow.DataType): boolean =>
  Arrow.DataType.isInt(type) || Arrow.DataType.isFloat(type) || Arrow.DataType.isTimestamp(type)

/** One NaN: the bits of others would make equal values unequal bytes. A copy only where there is any. */
const canonicalNaN = <V extends Float32Array | Float64Array>(values: V, where: "in place" | "copy"): V => {
  let i = 0
  while (i < values.length && !Number.isNaN(values[i])) i++
  if (i === values.length) return values
  const own = where === "copy" ? (values.slice() as V) : values
  for (; i < own.length; i++) if (Number.isNaN(own[i])) own[i] = Number.NaN
  return own
}

/** Fixed-width values without nulls: a view where they lie in one piece, else copied out of their chunks. */
const fixedWidth = (type: Arrow.DataType, vector: Arrow.Vector): Arrow.Data => {
  const values: unknown = vector.toArray()
  const data =
    values instanceof Float32Array || values instanceof Float64Array ? canonicalNaN(values, "copy") : values
  return Arrow.makeData({ type, length: vector.length, nullCount: 0, data } as never)
}

/** What 32-bit offsets reach; apache-arrow would wrap around silently. */
const MAX_OFFSET = 2 ** 31 - 8

const reachable = (size: number): number => {
  if (size <= MAX_OFFSET) return size
  throw new RangeError(
    `${BATCH_ROWS} rows of one column take more than 2 GiB; use shorter lists or texts, or split the table`
  )
}

/** Lists without nulls: offsets from zero, the items of all chunks in a row. */
const lists = (type: Arrow.List, vector: Arrow.Vector<Arrow.List>): Arrow.Data => {
  const offsets = new Int32Array(vector.length + 1)
  const items: Array<Arrow.Data> = []
  let row = 0
  let before = 0
  for (const { valueOffsets, children, length } of vector.data) {
    const [first = 0, last = 0] = [valueOffsets[0], valueOffsets[length]]
    const [child] = children
    if (child !== undefined && last > first) items.push(child.slice(first, last - first))
    for (let i = 1; i <= length; i++) offsets[++row] = before - first + (valueOffsets[i] ?? 0)
    before = reachable(before + last - first)
  }
  const [field] = type.children
  if (field === undefined) throw new TypeError("a list type without an item type")
  const child = column(
    field.type,
    items.length === 0 ? Arrow.vectorFromArray([], field.type) : new Arrow.Vector(items)
  )
  return Arrow.makeData({ type, length: vector.length, nullCount: 0, valueOffsets: offsets, child } as never)
}

/** Lists of one size without nulls. */
const fixedLists = (type: Arrow.FixedSizeList, vector: Arrow.Vector<Arrow.FixedSizeList>): Arrow.Data => {
  const [field] = type.children
  if (field === undefined) throw new TypeError("a list type without an item type")
  const items = vector.data.flatMap(({ children, length }) =>
    children.map((child) => child.slice(0, length * type.listSize))
  )
  const child = column(field.type, new Arrow.Vector(items))
  return Arrow.makeData({ type, length: vector.length, nullCount: 0, child } as never)
}

const BYTE_ORDER_MARK = Buffer.of(0xef, 0xbb, 0xbf)

/**
 * Text without nulls; none where its bytes are not what its values would be written as: invalid UTF-8, and byte order
 * marks, which reading drops.
 */
const text = (type: Arrow.Utf8, vector: Arrow.Vector<Arrow.Utf8>): Arrow.Data | undefined => {
  const offsets = new Int32Array(vector.length + 1)
  const parts: Array<Uint8Array> = []
  let row = 0
  let before = 0
  for (const { valueOffsets, values, length } of vector.data) {
    const first = valueOffsets[0] ?? 0
    const part = values.subarray(first, valueOffsets[length])
    if (!isUtf8(part) || Buffer.from(part.buffer, part.byteOffset, part.length).includes(BYTE_ORDER_MARK))
      return undefined
    for (let i = 1; i <= length; i++) {
      const end = (valueOffsets[i] ?? 0) - first
      // A value must not end within a character.
      if (((part[end] ?? 0) & 0xc0) === 0x80) return undefined
      offsets[++row] = before + end
    }
    parts.push(part)
    before = reachable(before + part.length)
  }
  const data = parts.length === 1 ? parts[0] : Buffer.concat(parts)
  return Arrow.makeData({ type, length: vector.length, nullCount: 0, valueOffsets: offsets, data } as never)
}

/** Plain values: what a builder takes and what rows hold. */
export const plain = (value: unknown): unknown =>
  value instanceof Arrow.Vector
    ? Array.from(value, plain)
    : ArrayBuffer.isView(value)
      ? Array.from(value as never)
      : value

/** One NaN in what a builder made, in place. */
const withOneNaN = (data: Arrow.Data): Arrow.Data => {
  if (Arrow.DataType.isFloat(data.type)) canonicalNaN(data.values as Float32Array, "in place")
  for (const child of data.children) withOneNaN(child)
  return data
}

const built = (type: Arrow.DataType, values: Iterable<unknown>): Arrow.Data => {
  const builder = Arrow.makeBuilder({ type, nullValues: [null, undefined] })
  for (const value of values) builder.append(plain(value))
  return withOneNaN(builder.finish().flush())
}

/** The canonical data of a column, from at most one batch of rows; buffers that are canonical already are not copied. */
const column = (type: Arrow.DataType, vector: Arrow.Vector): Arrow.Data => {
  if (vector.nullCount === 0 && !Arrow.DataType.isDictionary(vector.type)) {
    if (isFixedWidth(type)) return fixedWidth(type, vector)
    if (Arrow.DataType.isList(type)) return lists(type, vector as Arrow.Vector<Arrow.List>)
    if (Arrow.DataType.isFixedSizeList(type))
      return fixedLists(type, vector as Arrow.Vector<Arrow.FixedSizeList>)
    if (Arrow.DataType.isUtf8(type))
      return text(type, vector as Arrow.Vector<Arrow.Utf8>) ?? built(type, vector)
  }
  return built(type, vector)
}

/** What of a stored schema does not satisfy the port, in words. */
export const mismatch = (wanted: Arrow.Schema, found: Arrow.Schema): string | undefined => {
  for (const field of wanted.fields) {
    const other = found.fields.find(({ name }) => name === field.name)
    if (other === undefined) {
      return `has no column ${field.name}; it has ${found.fields.map(({ name }) => name).join(", ")}`
    }
    const type = Arrow.DataType.isDictionary(other.type) ? other.type.dictionary : other.type
    if (`${type}` !== `${field.type}`) return `column ${field.name} is ${type}, not ${field.type}`
  }
  return undefined
}

const shapeError = (table: Table<Fields>, detail: string) =>
  new ArtifactError({ reason: "SchemaMismatch", artifact: table.id, detail })

/** The canonical record batch of some columns. Throws ArtifactError where they are not the port's. */
export const fromColumns = (
  table: Table<Fields>,
  rows: number,
  get: (name: string) => Arrow.Vector | null
): Arrow.RecordBatch => {
  const schema = arrowSchema(table)
  const columns = schema.fields.map((field) => {
    const vector = get(field.name)
    if (vector === null) throw shapeError(table, `has no column ${field.name}`)
    if (!field.nullable && vector.nullCount > 0) throw shapeError(table, `column ${field.name} has nulls`)
    return column(field.type, vector)
  })
  return recordBatch(schema, columns, rows)
}

/** The canonical record batches of an Arrow table. Throws ArtifactError where its columns are not the port's. */
export const fromArrow = function* (
  table: Table<Fields>,
  content: Arrow.Table
): Generator<Arrow.RecordBatch> {
  const wrong = mismatch(arrowSchema(table), content.schema)
  if (wrong !== undefined) throw shapeError(table, wrong)
  for (let from = 0; from < content.numRows; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, content.numRows)
    yield fromColumns(table, to - from, (name) => content.getChild(name)?.slice(from, to) ?? null)
  }
}

/** Rows on the way into batches. They are held as columns; a batch is given back as soon as it is full. */
export interface Rows {
  /** Adds rows that satisfy the port's row schema. Together with those before, at most one batch. */
  readonly add: (rows: ReadonlyArray<Readonly<Record<string, unknown>>>) => void
  readonly count: () => number
  /** The batch of what was added since the last. */
  readonly take: () => Arrow.RecordBatch
}

export const rows = (table: Table<Fields>): Rows => {
  const { fields } = arrowSchema(table)
  let parts = new Map<string, Array<Arrow.Data>>()
  let count = 0
  return {
    add: (rows) => {
      for (const { name, type } of fields) {
        const part = built(
          type,
          rows.map((row) => row[name])
        )
        parts.set(name, [...(parts.get(name) ?? []), part])
      }
      count += rows.length
    },
    count: () => count,
    take: () => {
      const batch = fromColumns(table, count, (name) => new Arrow.Vector(parts.get(name) ?? []))
      parts = new Map()
      count = 0
      return batch
    }
  }
}

/** Keeps what the writer gives it, until it is asked. */
class Pieces extends Arrow.AsyncByteQueue {
  private pieces: Array<Uint8Array> = []
  override write(piece: Uint8Array): void {
    this.pieces.push(piece)
  }
  take(): ReadonlyArray<Uint8Array> {
    const { pieces } = this
    this.pieces = []
    return pieces
  }
}

/** The Arrow IPC file of canonical record batches, piece by piece; pieces are views of the batches' buffers. */
export const encoder = (table: Table<Fields>) => {
  const writer = new Arrow.RecordBatchFileWriter()
  const pieces = new Pieces()
  writer.reset(pieces, arrowSchema(table))
  return {
    batch: (batch: Arrow.RecordBatch): ReadonlyArray<Uint8Array> => {
      writer.write(batch)
      return pieces.take()
    },
    end: (): ReadonlyArray<Uint8Array> => {
      writer.finish()
      return pieces.take()
    }
  }
}
