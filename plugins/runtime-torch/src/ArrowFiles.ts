/**
 * Tables to and from the worker, as Arrow IPC files: columns of typed arrays, no rows.
 */
import { readFile, writeFile } from "node:fs/promises"
import type { RuntimeError } from "@tessera/runtime"
import * as Arrow from "apache-arrow"
import { Effect } from "effect"
import { failed } from "./Errors.js"

const listOf = (
  item: Arrow.DataType,
  lists: ReadonlyArray<ArrayLike<unknown>>,
  child: (count: number) => Arrow.Data
): Arrow.Vector => {
  const valueOffsets = new Int32Array(lists.length + 1)
  lists.forEach((list, i) => (valueOffsets[i + 1] = (valueOffsets[i] ?? 0) + list.length))
  const type = new Arrow.List(new Arrow.Field("item", item, false))
  const data = Arrow.makeData({
    type,
    length: lists.length,
    valueOffsets,
    child: child(valueOffsets[lists.length] ?? 0)
  })
  return new Arrow.Vector([data])
}

/** A column of lists of ids. */
export const idLists = (lists: ReadonlyArray<ArrayLike<number>>): Arrow.Vector =>
  listOf(new Arrow.Int32(), lists, (count) => {
    const data = new Int32Array(count)
    let at = 0
    for (const list of lists) {
      data.set(list, at)
      at += list.length
    }
    return Arrow.makeData({ type: new Arrow.Int32(), length: count, data })
  })

/** A column of lists of flags. */
export const flagLists = (lists: ReadonlyArray<ReadonlyArray<boolean>>): Arrow.Vector =>
  listOf(new Arrow.Bool(), lists, (count) => {
    const data = new Uint8Array(Math.ceil(count / 8))
    let at = 0
    for (const list of lists) {
      for (const flag of list) {
        if (flag) data[at >> 3] = (data[at >> 3] ?? 0) | (1 << (at & 7))
        at++
      }
    }
    return Arrow.makeData({ type: new Arrow.Bool(), length: count, data })
  })

/** A column of numbers that may be missing. */
export const numbers = (
  type: Arrow.Int32 | Arrow.Float64,
  values: ReadonlyArray<number | undefined>
): Arrow.Vector =>
  Arrow.vectorFromArray(
    values.map((value) => value ?? null),
    type
  )

/** A column of 64-bit integers that may be missing. */
export const bigNumbers = (values: ReadonlyArray<number | undefined>): Arrow.Vector =>
  Arrow.vectorFromArray(
    values.map((value) => (value === undefined ? null : BigInt(value))),
    new Arrow.Int64()
  )

const broken = (path: string, what: string) => (cause: unknown) =>
  failed(
    "Execution",
    `${path} cannot be ${what}: ${cause instanceof Error ? cause.message : String(cause)}`,
    cause
  )

export const write = (
  path: string,
  columns: Readonly<Record<string, Arrow.Vector>>
): Effect.Effect<void, RuntimeError> =>
  Effect.tryPromise({
    try: () => writeFile(path, Arrow.tableToIPC(new Arrow.Table(columns), "file")),
    catch: broken(path, "written")
  })

/** A table that was read; columns are got by name and type, so that a wrong one is an error. */
export interface ReadTable {
  readonly rows: number
  /** Float or id lists, where they lie. */
  readonly floatLists: (name: string) => ReadonlyArray<Float32Array>
  readonly idLists: (name: string) => ReadonlyArray<Int32Array>
  readonly numbers: (name: string) => ReadonlyArray<number>
  readonly texts: (name: string) => ReadonlyArray<string>
}

const columns = (path: string, table: Arrow.Table): ReadTable => {
  const cells = <A>(name: string, wanted: string, is: (value: unknown) => value is A): ReadonlyArray<A> => {
    const vector = table.getChild(name)
    if (vector === null) throw new Error(`${path} has no column ${name}`)
    return Array.from({ length: vector.length }, (_, i) => {
      const cell: unknown = vector.get(i)
      // A list's cell is a vector over its part of the values.
      const value: unknown = cell instanceof Arrow.Vector ? cell.toArray() : cell
      if (is(value)) return value
      throw new Error(`${path}: row ${i} of ${name} holds no ${wanted}`)
    })
  }
  return {
    rows: table.numRows,
    floatLists: (name) => cells(name, "list of float32", (value) => value instanceof Float32Array),
    idLists: (name) => cells(name, "list of int32", (value) => value instanceof Int32Array),
    numbers: (name) => cells(name, "number", (value) => typeof value === "number"),
    texts: (name) => cells(name, "text", (value) => typeof value === "string")
  }
}

/** Reads a file and takes from it; what is not as expected is an error. */
export const read = <A>(path: string, take: (table: ReadTable) => A): Effect.Effect<A, RuntimeError> =>
  Effect.tryPromise({
    try: async () => take(columns(path, Arrow.tableFromIPC(await readFile(path)))),
    catch: broken(path, "read")
  })
