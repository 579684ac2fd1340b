/**
 * A column of a table: one declaration gives its TypeScript type, its Effect Schema and its Arrow type.
 */
import * as Arrow from "apache-arrow"
import { Schema, type Types } from "effect"

export interface Column<out A, out D extends Arrow.DataType> {
  readonly arrow: D
  readonly nullable: boolean
  /** Decodes and encodes one cell; the encoded form is the decoded one. */
  readonly schema: Schema.Schema.AnyNoContext
  readonly _A: Types.Covariant<A>
}

export declare namespace Column {
  type Any = Column<unknown, Arrow.DataType>
  type Type<C> = C extends Column<infer A, Arrow.DataType> ? A : never
}

const make = <A, D extends Arrow.DataType>(
  schema: Schema.Schema<A>,
  arrow: D,
  nullable = false
): Column<A, D> => ({
  arrow,
  nullable,
  schema,
  _A: (a) => a
})

/** UTF-8 text. Never dictionary-encoded, so equal values have equal bytes. */
export const utf8 = make(Schema.String, new Arrow.Utf8())
export const bool = make(Schema.Boolean, new Arrow.Bool())
export const int32 = make(
  Schema.Int.pipe(Schema.between(-0x80000000, 0x7fffffff)) as Schema.Schema<number>,
  new Arrow.Int32()
)
export const int64 = make(Schema.BigIntFromSelf, new Arrow.Int64())
export const float32 = make(Schema.Number, new Arrow.Float32())
export const float64 = make(Schema.Number, new Arrow.Float64())
export const timestampMillis = make(Schema.Number, new Arrow.TimestampMillisecond())
export const timestampMicros = make(Schema.Number, new Arrow.TimestampMicrosecond())

/** A list of any length. Cells are read as plain arrays. */
export const list = <A, D extends Arrow.DataType>(
  item: Column<A, D>
): Column<ReadonlyArray<A>, Arrow.List<D>> =>
  make(
    Schema.Array(item.schema as Schema.Schema<A>),
    new Arrow.List(new Arrow.Field("item", item.arrow, item.nullable))
  )

/** A list of exactly `size` float32 numbers; the size is part of the type. */
export const vec = <const N extends number>(
  size: N
): Column<ReadonlyArray<number>, Arrow.FixedSizeList<Arrow.Float32> & { readonly listSize: N }> =>
  make(
    Schema.Array(Schema.Number).pipe(Schema.itemsCount(size)),
    new Arrow.FixedSizeList(
      size,
      new Arrow.Field("item", new Arrow.Float32(), false)
    ) as Arrow.FixedSizeList<Arrow.Float32> & {
      readonly listSize: N
    }
  )

/** The column with `null` allowed. */
export const nullable = <A, D extends Arrow.DataType>(column: Column<A, D>): Column<A | null, D> =>
  make(Schema.NullOr(column.schema as Schema.Schema<A>), column.arrow, true)
