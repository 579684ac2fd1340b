/**
 * Canonical bytes of a table: equal rows give equal bytes, whatever batches, offsets, padding or junk under nulls they
 * came with. apache-arrow alone does not give that.
 */
import { ArtifactError, arrowSchema, type Fields, type Table } from "@tessera/core"
import * as Arrow from "apache-arrow"

/** Rows per record batch of a stored table. */
export const BATCH_ROWS = 65_536

const isFixedWidth = (type: Arrow.DataType): boolean =>
  Arrow.DataType.isInt(type) || Arrow.DataType.isFloat(type) || Arrow.DataType.isTimestamp(type)

/** One NaN: the bits of others would make equal values unequal bytes. */
const canonicalNaN = (values: Float32Array | Float64Array): void => {
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) values[i] = Number.NaN
}

/** Fixed-width values without nulls, copied out of their chunks. */
const fixedWidth = (type: Arrow.DataType, vector: Arrow.Vector): Arrow.Data => {
  // A fresh copy: `toArray` may be a view of a larger buffer.
  const values = vector.toArray().slice()
  if (values instanceof Float32Array || values instanceof Float64Array) canonicalNaN(values)
  return Arrow.makeData({ type, length: vector.length, nullCount: 0, data: values } as never)
}

/** Lists without nulls: offsets from zero, the items of all chunks in a row. */
const lists = (type: Arrow.List, vector: Arrow.Vector<Arrow.List>): Arrow.Data => {
  const offsets = new Int32Array(vector.length + 1)
  const items: Array<Arrow.Data> = []
  let row = 0
  let end = 0
  for (const chunk of vector.data) {
    const { valueOffsets, children, length } = chunk
    const [first = 0, last = 0] = [valueOffsets[0], valueOffsets[length]]
    const [child] = children
    if (child !== undefined && last > first) items.push(child.slice(first, last - first))
    for (let i = 0; i < length; i++) {
      end += (valueOffsets[i + 1] ?? 0) - (valueOffsets[i] ?? 0)
      offsets[++row] = end
    }
  }
  const [field] = type.children
  if (field === undefined) throw new TypeError("a list type without an item type")
  const child = column(
    field.type,
    items.length === 0 ? Arrow.vectorFromArray([], field.type) : new Arrow.Vector(items)
  )
  return Arrow.makeData({ type, length: vector.length, nullCount: 0, valueOffsets: offsets, child } as never)
}

/** Plain values: what a builder takes and what rows hold. */
export const plain = (value: unknown): unknown =>
  value instanceof Arrow.Vector
    ? Array.from(value, plain)
    : ArrayBuffer.isView(value)
      ? Array.from(value as never)
      : value

const built = (type: Arrow.DataType, values: Iterable<unknown>): Arrow.Data => {
  const builder = Arrow.makeBuilder({ type, nullValues: [null, undefined] })
  for (const value of values) builder.append(plain(value))
  return builder.finish().flush()
}

/** The canonical data of a column, from at most one batch of rows. */
const column = (type: Arrow.DataType, vector: Arrow.Vector): Arrow.Data => {
  if (vector.nullCount === 0 && !Arrow.DataType.isDictionary(vector.type)) {
    if (isFixedWidth(type)) return fixedWidth(type, vector)
    if (Arrow.DataType.isList(type)) return lists(type, vector as Arrow.Vector<Arrow.List>)
  }
  return built(type, vector)
}

const recordBatch = (
  schema: Arrow.Schema,
  columns: ReadonlyArray<Arrow.Data>,
  rows: number
): Arrow.RecordBatch =>
  new Arrow.RecordBatch(
    schema,
    Arrow.makeData({
      type: new Arrow.Struct(schema.fields),
      length: rows,
      nullCount: 0,
      children: [...columns]
    })
  )

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

/** The canonical record batches of an Arrow table. Throws ArtifactError where its columns are not the port's. */
export const fromArrow = function* (
  table: Table<Fields>,
  content: Arrow.Table
): Generator<Arrow.RecordBatch> {
  const schema = arrowSchema(table)
  const wrong = mismatch(schema, content.schema)
  if (wrong !== undefined) throw shapeError(table, wrong)
  for (let from = 0; from < content.numRows; from += BATCH_ROWS) {
    const rows = Math.min(BATCH_ROWS, content.numRows - from)
    const columns = schema.fields.map((field) => {
      const vector = content.getChild(field.name)
      if (vector === null) throw shapeError(table, `has no column ${field.name}`)
      const part = vector.slice(from, from + rows)
      if (!field.nullable && part.nullCount > 0) throw shapeError(table, `column ${field.name} has nulls`)
      return column(field.type, part)
    })
    yield recordBatch(schema, columns, rows)
  }
}

/** The canonical record batch of at most BATCH_ROWS rows that satisfy the port's row schema. */
export const fromRows = (
  table: Table<Fields>,
  rows: ReadonlyArray<Readonly<Record<string, unknown>>>
): Arrow.RecordBatch => {
  const schema = arrowSchema(table)
  const columns = schema.fields.map(({ name, type }) =>
    column(
      type,
      new Arrow.Vector([
        built(
          type,
          rows.map((row) => row[name])
        )
      ])
    )
  )
  return recordBatch(schema, columns, rows.length)
}

/** The Arrow IPC file of canonical record batches. */
export const encode = (table: Table<Fields>, batches: Iterable<Arrow.RecordBatch>): Uint8Array => {
  const writer = new Arrow.RecordBatchFileWriter()
  writer.reset(undefined, arrowSchema(table))
  for (const batch of batches) writer.write(batch)
  writer.finish()
  return writer.toUint8Array(true)
}
