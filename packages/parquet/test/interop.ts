/** One table of every column type, with what other tools must find in it. */
import fc from "fast-check"
import { type Cell, type Columns, columnsOf, Everything, kinds } from "./tables.js"

const isArray = (cell: Cell): cell is ReadonlyArray<Cell> => Array.isArray(cell)

/** Other tools hold timestamps as microseconds, or as dates. */
const modest = (cell: Cell): Cell =>
  typeof cell === "bigint"
    ? BigInt.asIntN(44, cell)
    : cell !== null && isArray(cell)
      ? cell.map(modest)
      : cell

const sampled = fc.sample(
  columnsOf(Object.keys(kinds), 60).filter(({ utf8 }) => (utf8?.length ?? 0) >= 50),
  { numRuns: 1, seed: 20_261_124 }
)[0]

/** Every value thrice, so that writers find dictionaries worth it. */
export const content: Columns = Object.fromEntries(
  Object.entries(sampled ?? {}).map(([name, cells]) => {
    const once = ["millis", "micros", "maybe_micros", "times"].includes(name) ? cells.map(modest) : cells
    return [name, [...once, ...once, ...once]]
  })
)

export { Everything }
