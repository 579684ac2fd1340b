import { Tensor } from "onnxruntime-common"

export const floats = (data: Float32Array, dims: ReadonlyArray<number>): Tensor =>
  new Tensor("float32", data, dims)

export const int32s = (data: Int32Array, dims: ReadonlyArray<number>): Tensor =>
  new Tensor("int32", data, dims)

export const int64s = (values: ReadonlyArray<number>, dims: ReadonlyArray<number>): Tensor =>
  new Tensor("int64", BigInt64Array.from(values, BigInt), dims)

/** Rows [from, to) of a matrix, not copied. */
export const rows = (data: Float32Array, width: number, from: number, to: number): Tensor =>
  floats(data.subarray(from * width, to * width), [to - from, width])
