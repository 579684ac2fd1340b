/**
 * What can flow along an edge: a table, a document or a tree.
 */
import * as Arrow from "apache-arrow"
import { Schema, type Types } from "effect"
import type { Column } from "./Column.js"
import { shape } from "./Shape.js"

export type Fields = Readonly<Record<string, Column.Any>>

/** Rows under an Arrow schema. A wider table satisfies a narrower port. */
export interface Table<out F extends Fields> {
  readonly kind: "table"
  /** Name and version of the contract, such as `Influence/1`. */
  readonly id: string
  readonly fields: F
}

/** One JSON value under an Effect Schema. */
export interface Document<out A> {
  readonly kind: "document"
  readonly id: string
  readonly schema: Schema.Schema.AnyNoContext
  readonly _A: Types.Covariant<A>
}

/** A folder of files: a model, a kernel package. */
export interface Tree<out Id extends string> {
  readonly kind: "tree"
  readonly id: Id
}

/** A table split by the values of one column. */
export interface Shards<out T> {
  readonly kind: "shards"
  readonly of: T
  readonly by: string
}

export type Port = Table<Fields> | Document<unknown> | Tree<string>
export type Ports = Readonly<Record<string, Port>>

/** The TypeScript row of a table. */
export type Row<T> =
  T extends Table<infer F> ? Types.Simplify<{ readonly [K in keyof F]: Column.Type<F[K]> }> : never

/** The value of a document. */
export type Value<T> = T extends Document<infer A> ? A : never

export const table = <const F extends Fields>(id: string, fields: F): Table<F> => ({
  kind: "table",
  id,
  fields
})

export const document = <A, I>(id: string, schema: Schema.Schema<A, I>): Document<A> => ({
  kind: "document",
  id,
  schema,
  _A: (a) => a
})

export const tree = <const Id extends string>(id: Id): Tree<Id> => ({ kind: "tree", id })

/** The Effect Schema of a table's rows. */
export const rowSchema = <F extends Fields>(table: Table<F>): Schema.Schema<Row<Table<F>>> =>
  Schema.Struct(
    Object.fromEntries(Object.entries(table.fields).map(([name, column]) => [name, column.schema]))
  ) as unknown as Schema.Schema<Row<Table<F>>>

/** The Arrow schema of a table, in the order the columns were declared. */
export const arrowSchema = (table: Table<Fields>): Arrow.Schema =>
  new Arrow.Schema(
    Object.entries(table.fields).map(
      ([name, column]) => new Arrow.Field(name, column.arrow, column.nullable)
    ),
    new Map([["tessera.table", table.id]])
  )

/** A record batch of whole columns of `rows` values each, in the order of the schema's fields. */
export const recordBatch = (
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

/** Every concrete Arrow type prints its name and parameters: `Int32`, `List<Int32>`, `FixedSizeList[64]<Float32>`. */
// oxlint-disable-next-line typescript/no-base-to-string -- only the abstract base lacks a toString
const typeName = (type: Arrow.DataType): string => String(type)

/**
 * Identifies the shape of a port, for keys: a table by its Arrow fields, a document by the structure
 * of its encoded side, a tree by its name alone.
 */
export const fingerprint = (port: Port): string => {
  switch (port.kind) {
    case "table":
      return `${port.id}#${arrowSchema(port)
        .fields.map((field) => `${field.name}:${typeName(field.type)}${field.nullable ? "?" : ""}`)
        .join(",")}`
    case "document":
      return `${port.id}#${shape(port.schema.ast)}`
    case "tree":
      return port.id
  }
}
