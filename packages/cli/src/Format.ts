/**
 * Plain text for people: aligned tables, numbers, sizes, durations.
 */
import { stripVTControlCharacters } from "node:util"

export type Align = "left" | "right"

export interface ColumnText {
  readonly title: string
  readonly align?: Align
  readonly cells: ReadonlyArray<string>
}

const width = (text: string) => stripVTControlCharacters(text).length

const pad = (text: string, to: number, align: Align) => {
  const space = " ".repeat(Math.max(0, to - width(text)))
  return align === "right" ? space + text : text + space
}

/** Columns side by side under their titles, two spaces apart. */
export const columns = (all: ReadonlyArray<ColumnText>): string => {
  const widths = all.map(({ title, cells }) => Math.max(width(title), ...cells.map(width)))
  const rows = Math.max(0, ...all.map(({ cells }) => cells.length))
  const line = (text: (column: ColumnText) => string) =>
    all
      .map((column, i) => pad(text(column), widths[i] ?? 0, column.align ?? "left"))
      .join("  ")
      .trimEnd()
  return [
    line(({ title }) => title),
    line(({ title, cells }) => "─".repeat(Math.max(width(title), ...cells.map(width)))),
    ...Array.from({ length: rows }, (_, row) => line(({ cells }) => cells[row] ?? ""))
  ].join("\n")
}

const group = (text: string) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",")

const fixed = (value: number, digits: number): string => {
  if (!Number.isFinite(value)) return String(value)
  const [whole = "", fraction] = value.toFixed(digits).split(".")
  const grouped = Math.abs(value) >= 10_000 ? group(whole) : whole
  return fraction === undefined ? grouped : `${grouped}.${fraction}`
}

/** Decimals that show about four digits of the largest value, the same for the whole column. */
const decimals = (values: ReadonlyArray<number>): number => {
  const finite = values.filter(Number.isFinite)
  if (finite.every(Number.isInteger)) return 0
  const largest = Math.max(0, ...finite.map(Math.abs))
  return Math.max(0, 3 - Math.max(0, Math.floor(Math.log10(largest))))
}

/** Numbers of one column: equal decimals, so that they align; very small ones in scientific notation. */
export const numbers = (values: ReadonlyArray<number | null>): ReadonlyArray<string> => {
  const present = values.filter((value) => value !== null)
  const digits = decimals(present)
  const tiny = present.length > 0 && digits > 0 && present.every((value) => Math.abs(value) < 1e-3)
  return values.map((value) =>
    value === null ? "–" : tiny && value !== 0 ? value.toExponential(2) : fixed(value, digits)
  )
}

/** One number by itself, to about four digits. */
export const number = (value: number): string => numbers([value])[0] ?? ""

/** `3.2 kB`, in powers of 1000. */
export const bytes = (size: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  let value = size
  let unit = 0
  for (; Math.abs(value) >= 1000 && unit < units.length - 1; unit++) value /= 1000
  return unit === 0 ? `${value} B` : `${value.toPrecision(3)} ${units[unit]}`
}

/** `0.4 s`, `42 s`, `3m 05s`, `2h 07m`. */
export const duration = (millis: number): string => {
  const seconds = millis / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 59.5) return `${Math.round(seconds)} s`
  const two = (value: number) => String(value).padStart(2, "0")
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`
}

/** `2026-11-24 17:16:07`, of an ISO time. */
export const moment = (at: string): string => at.replace("T", " ").replace(/\..*$/, "")

/** `sha256:` and the first twelve digits: enough for `tessera show`. */
export const digest = (text: string): string => text.replace(/^(sha256:)?([0-9a-f]{12})[0-9a-f]*$/, "$1$2")

/** At most `length` characters on one line; what is cut is shown as `…`. */
export const cut = (text: string, length: number): string => {
  const flat = text.replace(/\s+/g, " ").trim()
  return flat.length > length ? `${flat.slice(0, Math.max(0, length - 1))}…` : flat
}
