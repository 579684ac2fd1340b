/**
 * Two tables of measurements side by side: rows are matched by their names and whole numbers, what was measured is
 * compared.
 */
import * as Arrow from "apache-arrow"
import { json } from "./ArrowText.js"
import * as Format from "./Format.js"

interface Row {
  readonly names: ReadonlyArray<string>
  readonly values: ReadonlyArray<number | null>
}

export interface Difference {
  readonly names: ReadonlyArray<string>
  /** Per measured column, before and after; null where the row, or its value, is missing. */
  readonly values: ReadonlyArray<readonly [before: number | null, after: number | null]>
}

export interface TableDiff {
  readonly names: ReadonlyArray<string>
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Difference>
}

const isMeasured = (type: Arrow.DataType) => Arrow.DataType.isFloat(type)
const isName = (type: Arrow.DataType) =>
  Arrow.DataType.isUtf8(type) || Arrow.DataType.isInt(type) || Arrow.DataType.isBool(type)

const rowsOf = (table: Arrow.Table): ReadonlyMap<string, Row> => {
  const fields = table.schema.fields.map(({ type }, i) => ({ type, vector: table.getChildAt(i) }))
  const rows = new Map<string, Row>()
  for (let row = 0; row < table.numRows; row++) {
    const names: Array<string> = []
    const values: Array<number | null> = []
    for (const { type, vector } of fields) {
      const value: unknown = vector?.get(row) ?? null
      if (isName(type)) names.push(String(json(value)))
      if (isMeasured(type)) values.push(value === null ? null : Number(value))
    }
    rows.set(JSON.stringify(names), { names, values })
  }
  return rows
}

/** Undefined where the tables measure nothing, have other columns, or rows of one name. */
export const tableDiff = (before: Arrow.Table, after: Arrow.Table): TableDiff | undefined => {
  const fields = after.schema.fields
  const same = JSON.stringify(fields.map(String)) === JSON.stringify(before.schema.fields.map(String))
  const columns = fields.filter(({ type }) => isMeasured(type)).map(({ name }) => name)
  const names = fields.filter(({ type }) => isName(type)).map(({ name }) => name)
  if (!same || columns.length === 0 || names.length === 0) return undefined
  const [a, b] = [rowsOf(before), rowsOf(after)]
  if (a.size < before.numRows || b.size < after.numRows) return undefined
  const rows = [...new Set([...b.keys(), ...a.keys()])].flatMap((key): ReadonlyArray<Difference> => {
    const [x, y] = [a.get(key), b.get(key)]
    const values = columns.map((_, i) => [x?.values[i] ?? null, y?.values[i] ?? null] as const)
    const equal = x !== undefined && y !== undefined && values.every(([was, is]) => Object.is(was, is))
    return equal ? [] : [{ names: (y ?? x)?.names ?? [], values }]
  })
  return { names, columns, rows }
}

/** Columns in which nothing differs are left out. */
export const text = ({ names, columns, rows }: TableDiff, limit: number): string => {
  const shown = rows.slice(0, limit)
  const changed = columns.flatMap((title, i) => {
    const pairs = shown.map(({ values }) => values[i] ?? ([null, null] as const))
    if (pairs.every(([was, is]) => Object.is(was, is))) return []
    const cells = Format.numbers(pairs.flat())
    return [
      {
        title,
        align: "right" as const,
        cells: pairs.map(([was, is], row) =>
          Object.is(was, is) ? (cells[2 * row] ?? "") : `${cells[2 * row]} → ${cells[2 * row + 1]}`
        )
      }
    ]
  })
  const more =
    rows.length > shown.length ? `\n… ${rows.length - shown.length} more rows (all with --json)` : ""
  return (
    Format.columns([
      ...names.map((title, i) => ({ title, cells: shown.map((row) => row.names[i] ?? "") })),
      ...changed
    ]) + more
  )
}
