/**
 * Rows and statistics of an Arrow table as text and as JSON.
 */
import * as Arrow from "apache-arrow"
import * as Format from "./Format.js"

/** A cell as JSON: what JSON has no form for becomes text. */
export const json = (value: unknown): unknown => {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (typeof value === "number" && !Number.isFinite(value)) return String(value)
  if (value instanceof Arrow.Vector || ArrayBuffer.isView(value) || Array.isArray(value)) {
    return Array.from(value as Iterable<unknown>, json)
  }
  return value ?? null
}

const cell = (value: unknown, length: number): string => {
  const plain = json(value)
  if (plain === null) return "–"
  if (Array.isArray(plain)) {
    const shown = plain
      .slice(0, 4)
      .map((item) => (typeof item === "number" ? Format.number(item) : String(item)))
    return Format.cut(`[${shown.join(", ")}${plain.length > 4 ? `, … ${plain.length}` : ""}]`, length)
  }
  return Format.cut(typeof plain === "string" ? plain : JSON.stringify(plain), length)
}

/** `Int32`, `List<Int32>`. */
// oxlint-disable-next-line typescript/no-base-to-string -- only the abstract base lacks a toString
export const typeName = (type: Arrow.DataType): string => String(type)

const isNumeric = (type: Arrow.DataType) => Arrow.DataType.isInt(type) || Arrow.DataType.isFloat(type)

/** A byte count is shown in bytes, by the name of its column. */
const isBytes = (name: string) => /(^|_)bytes$/.test(name)

/** The first rows, aligned, columns in the order they were declared. */
export const rows = (table: Arrow.Table, limit: number, cellLength = 40): string =>
  Format.columns(
    table.schema.fields.map(({ name, type }, i) => {
      const vector = table.getChildAt(i)
      const values = Array.from(
        { length: Math.min(limit, table.numRows) },
        (_, row): unknown => vector?.get(row) ?? null
      )
      if (!isNumeric(type)) return { title: name, cells: values.map((value) => cell(value, cellLength)) }
      const numbers = values.map((value) => (value === null ? null : Number(value)))
      return {
        title: name,
        align: "right" as const,
        cells: isBytes(name)
          ? numbers.map((value) => (value === null ? "–" : Format.bytes(value)))
          : Format.numbers(numbers)
      }
    })
  )

/** What is in one column. Lists are described by their lengths and by the numbers in them. */
export interface ColumnStatistics {
  readonly column: string
  readonly type: string
  readonly nulls: number
  /** Undefined where there are more than the limit, and for lists. */
  readonly distinct?: number
  readonly min?: number | string
  readonly max?: number | string
  readonly mean?: number
  /** Of lists and texts. */
  readonly length?: { readonly min: number; readonly mean: number; readonly max: number }
}

const distinctLimit = 1_000_000

class Range {
  count = 0
  sum = 0
  min = Infinity
  max = -Infinity
  add(value: number) {
    if (Number.isNaN(value)) return
    this.count++
    this.sum += value
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
  }
  get summary() {
    return this.count === 0 ? undefined : { min: this.min, mean: this.sum / this.count, max: this.max }
  }
}

const columnStatistics = (name: string, type: Arrow.DataType, vector: Arrow.Vector): ColumnStatistics => {
  const numeric = isNumeric(type)
  const values = new Range()
  const lengths = new Range()
  const seen = new Set<unknown>()
  let nulls = 0
  let distinct = true
  let first: string | undefined
  let last: string | undefined
  for (const value of vector as Iterable<unknown>) {
    if (value === null || value === undefined) {
      nulls++
      continue
    }
    if (value instanceof Arrow.Vector) {
      distinct = false
      lengths.add(value.length)
      for (const item of value as Iterable<unknown>) {
        if (typeof item === "number" || typeof item === "bigint") values.add(Number(item))
      }
      continue
    }
    if (numeric || typeof value === "bigint") values.add(Number(value))
    if (typeof value === "boolean") values.add(value ? 1 : 0)
    if (typeof value === "string") {
      lengths.add(value.length)
      if (first === undefined || value < first) first = value
      if (last === undefined || value > last) last = value
    }
    if (distinct) seen.add(value)
    if (seen.size > distinctLimit) distinct = false
  }
  const range = values.summary
  return {
    column: name,
    type: typeName(type),
    nulls,
    ...(distinct ? { distinct: seen.size } : {}),
    ...(range === undefined ? {} : range),
    ...(first === undefined || last === undefined ? {} : { min: first, max: last }),
    ...(lengths.summary === undefined ? {} : { length: lengths.summary })
  }
}

export const statistics = (table: Arrow.Table): ReadonlyArray<ColumnStatistics> =>
  table.schema.fields.flatMap(({ name, type }, i) => {
    const vector = table.getChildAt(i)
    return vector === null ? [] : [columnStatistics(name, type, vector)]
  })

/** Statistics as a table of text. */
export const statisticsText = (all: ReadonlyArray<ColumnStatistics>): string => {
  const text = (value: number | string | undefined) =>
    value === undefined ? "" : typeof value === "number" ? Format.number(value) : Format.cut(value, 24)
  const lengths = ({ length }: ColumnStatistics) =>
    length === undefined
      ? ""
      : length.min === length.max
        ? Format.number(length.min)
        : `${Format.number(length.min)}–${Format.number(length.max)}, mean ${Format.number(length.mean)}`
  const right = { align: "right" } as const
  return Format.columns([
    { title: "column", cells: all.map(({ column }) => column) },
    { title: "type", cells: all.map(({ type }) => type) },
    { title: "nulls", ...right, cells: all.map(({ nulls }) => text(nulls)) },
    { title: "distinct", ...right, cells: all.map(({ distinct }) => text(distinct)) },
    { title: "min", ...right, cells: all.map(({ min }) => text(min)) },
    { title: "mean", ...right, cells: all.map(({ mean }) => text(mean)) },
    { title: "max", ...right, cells: all.map(({ max }) => text(max)) },
    { title: "length", cells: all.map(lengths) }
  ])
}
