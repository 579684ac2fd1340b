/**
 * A typed edge: the promise of one output of one node. It carries the errors and services of everything upstream.
 */
import type { Types } from "effect"
import type { Column } from "./Column.js"
import type { Edge } from "./Graph.js"
import type { Fields, Shards, Table } from "./Port.js"

export const TypeId: unique symbol = Symbol.for("@tessera/core/Ref")

export interface Ref<out T, out E = never, out R = never> {
  readonly type: T
  readonly edge: Edge
  readonly [TypeId]: { readonly _E: Types.Covariant<E>; readonly _R: Types.Covariant<R> }
}

export declare namespace Ref {
  type Any = Ref<unknown, unknown, unknown>
  type Error<X> = X extends Ref<unknown, infer E, unknown> ? E : never
  type Context<X> = X extends Ref<unknown, unknown, infer R> ? R : never
}

const variance = { _E: (e: never) => e, _R: (r: never) => r }

/** @internal Stages make refs; users receive them. */
export const make = <T, E, R>(type: T, edge: Edge): Ref<T, E, R> => ({ type, edge, [TypeId]: variance })

type ShardColumn<F extends Fields> = {
  [K in keyof F & string]: Column.Type<F[K]> extends string | number | bigint ? K : never
}[keyof F & string]

/**
 * Splits a table by the values of a column, in ascending order of the value. How many shards there are is decided by
 * the data, when it exists.
 */
export const shard = <F extends Fields, E, R>(
  ref: Ref<Table<F>, E, R>,
  by: ShardColumn<F>
): Ref<Shards<Table<F>>, E, R> =>
  make({ kind: "shards", of: ref.type, by }, { ...ref.edge, view: { _tag: "Shard", by } })

/** Puts shards back together: one table, in the order of the shards. */
export const gather = <F extends Fields, E, R>(ref: Ref<Shards<Table<F>>, E, R>): Ref<Table<F>, E, R> =>
  make(ref.type.of, { ...ref.edge, view: { _tag: "Gather" } })
