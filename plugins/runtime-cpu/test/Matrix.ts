/** Row-major float64 matrices, as plain as can be: the reference must be easy to check by reading. */
export type Vector = Float64Array

export interface Matrix {
  readonly rows: number
  readonly columns: number
  readonly data: Vector
}

export const matrix = (rows: number, columns: number, data = new Float64Array(rows * columns)): Matrix => ({
  rows,
  columns,
  data
})

export const at = ({ columns, data }: Matrix, row: number, column: number): number =>
  data[row * columns + column] ?? Number.NaN

export const row = ({ columns, data }: Matrix, index: number): Vector =>
  data.subarray(index * columns, (index + 1) * columns)

export const fill = (
  rows: number,
  columns: number,
  value: (row: number, column: number) => number
): Matrix => {
  const m = matrix(rows, columns)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) m.data[i * columns + j] = value(i, j)
  return m
}

export const zip = (a: Matrix, b: Matrix, of: (a: number, b: number) => number): Matrix =>
  matrix(
    a.rows,
    a.columns,
    a.data.map((value, i) => of(value, b.data[i] ?? Number.NaN))
  )

export const plus = (a: Matrix, b: Matrix): Matrix => zip(a, b, (x, y) => x + y)

export const dot = (a: Vector, b: Vector): number => {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0)
  return sum
}

export const transposed = (m: Matrix): Matrix => fill(m.columns, m.rows, (i, j) => at(m, j, i))

/** a · bᵀ */
export const timesTransposed = (a: Matrix, b: Matrix): Matrix => {
  const rowsOfB = Array.from({ length: b.rows }, (_, j) => row(b, j))
  const product = matrix(a.rows, b.rows)
  for (let i = 0; i < a.rows; i++) {
    const left = row(a, i)
    rowsOfB.forEach((right, j) => (product.data[i * b.rows + j] = dot(left, right)))
  }
  return product
}

/** a · b */
export const times = (a: Matrix, b: Matrix): Matrix => timesTransposed(a, transposed(b))

export const columns = (m: Matrix, from: number, count: number): Matrix =>
  fill(m.rows, count, (i, j) => at(m, i, from + j))

/** Adds `part` to the columns of `m` that start at `from`. */
export const addColumns = (m: Matrix, from: number, part: Matrix): void => {
  for (let i = 0; i < part.rows; i++)
    for (let j = 0; j < part.columns; j++) {
      const index = i * m.columns + from + j
      m.data[index] = (m.data[index] ?? 0) + at(part, i, j)
    }
}
