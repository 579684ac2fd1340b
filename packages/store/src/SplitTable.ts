/**
 * A stored table, split by the values of a column.
 */
import { ArtifactError, type Fields, type Table } from "@tessera/core"
import type * as Arrow from "apache-arrow"
import { Effect, Schema } from "effect"
import type { Artifact } from "./Action.js"
import type { Blobs } from "./Blobs.js"
import * as Canonical from "./CanonicalTable.js"
import type { StoreError } from "./Errors.js"
import { read } from "./TableFile.js"
import { commit, pulled, trying } from "./Tables.js"
import { take } from "./Take.js"

/** A stored table's own declaration, as far as rewriting parts of it needs. */
const declared = (artifact: Artifact, schema: Arrow.Schema): Table<Fields> => ({
  kind: "table",
  id: artifact.type,
  fields: Object.fromEntries(
    schema.fields.map((field) => [
      field.name,
      { arrow: field.type, nullable: field.nullable, schema: Schema.Unknown as never, _A: (a: never) => a }
    ])
  )
})

/** The values of a column, ascending, and the rows of each. */
const groups = (column: Arrow.Vector) => {
  const numbers = new Map<unknown, number>()
  const counts: Array<number> = []
  const group = new Int32Array(column.length)
  let row = 0
  for (const value of column) {
    let number = numbers.get(value)
    if (number === undefined) {
      number = numbers.size
      numbers.set(value, number)
      counts.push(0)
    }
    group[row++] = number
    counts[number] = (counts[number] ?? 0) + 1
  }
  // Rows in the order of their groups, within each as they were.
  const order = new Int32Array(column.length)
  const ends: Array<number> = []
  for (const count of counts) ends.push((ends.at(-1) ?? 0) + count)
  const next = ends.map((end, i) => end - (counts[i] ?? 0))
  for (let row = 0; row < group.length; row++) {
    const number = group[row] ?? 0
    const at = next[number] ?? 0
    order[at] = row
    next[number] = at + 1
  }
  const sorted = [...numbers].sort(([a], [b]) =>
    typeof a === "string" ? (a < String(b) ? -1 : 1) : Number(a) - Number(b)
  )
  return {
    values: sorted.map(([value]) => value),
    rowsOf: (i: number): Int32Array => {
      const number = sorted[i]?.[1] ?? 0
      const end = ends[number] ?? 0
      return order.subarray(end - (counts[number] ?? 0), end)
    }
  }
}

/** The canonical batches of some rows, ascending. Neighbours are not copied, so a sorted table is split by slices. */
const batchesAt = function* (
  table: Table<Fields>,
  content: Arrow.Table,
  rows: Int32Array
): Generator<Arrow.RecordBatch> {
  for (let from = 0; from < rows.length; from += Canonical.BATCH_ROWS) {
    const part = rows.subarray(from, from + Canonical.BATCH_ROWS)
    const [first = 0, last = 0] = [part[0], part[part.length - 1]]
    const neighbours = last - first === part.length - 1
    yield Canonical.fromColumns(table, part.length, (name) => {
      const vector = content.getChild(name)
      if (vector === null) return null
      return neighbours ? vector.slice(first, last + 1) : take(vector, part)
    })
  }
}

/** Shards in ascending order of the value, which names them. */
export const split = (
  blobs: Blobs,
  artifact: Artifact,
  by: string
): Effect.Effect<
  ReadonlyArray<{ readonly shard: string; readonly artifact: Artifact }>,
  StoreError | ArtifactError
> =>
  Effect.gen(function* () {
    const whole = yield* read(blobs, artifact)
    const column = whole.getChild(by)
    if (column === null) {
      return yield* new ArtifactError({
        reason: "SchemaMismatch",
        artifact: artifact.digest,
        detail: `cannot be split by ${by}: it has no such column`
      })
    }
    const { values, rowsOf } = yield* trying(artifact.digest, () => groups(column))
    const table = declared(artifact, whole.schema)
    return yield* Effect.forEach(values, (value, i) =>
      Effect.map(
        commit(
          blobs,
          table,
          pulled(artifact.digest, () => batchesAt(table, whole, rowsOf(i)))
        ),
        (artifact) => ({ shard: String(value), artifact })
      )
    )
  })
