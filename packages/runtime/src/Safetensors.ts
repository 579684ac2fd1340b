/**
 * The safetensors file format: u64 header length, JSON header, then the tensors' bytes without gaps.
 * https://huggingface.co/docs/safetensors/index#format
 */
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Schema } from "effect"
import { ModelError } from "./Errors.js"
import { decode, parseJson, readFailure } from "./Files.js"
import { decodeFloats, floatBytes, type FloatFormat } from "./FloatFormat.js"

/** Every format a file may name, with the bytes of one element; only the floats of `FloatFormat` are read. */
const elementBytes: Readonly<Record<string, number>> = {
  ...floatBytes,
  F64: 8,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1
}

/** One tensor of a file. */
export interface StoredTensor {
  readonly file: string
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  /** Where its bytes are, from the start of the file. */
  readonly start: number
  readonly end: number
}

/** The format's own bound on the header's length. */
const longestHeader = 100_000_000

const Entry = Schema.Struct({
  dtype: Schema.String,
  shape: Schema.Array(Schema.NonNegativeInt),
  data_offsets: Schema.Tuple(Schema.NonNegativeInt, Schema.NonNegativeInt)
})

const Header = Schema.Struct(
  { __metadata__: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String })) },
  {
    key: Schema.String,
    value: Schema.Union(Entry, Schema.Record({ key: Schema.String, value: Schema.String }))
  }
)

const invalid = (path: string, detail: string, cause?: unknown) =>
  new ModelError({ reason: "InvalidWeights", path, detail, cause })

const readBytes = (file: FileSystem.File, path: string, start: number, length: number) =>
  Effect.gen(function* () {
    const bytes = new Uint8Array(length)
    yield* file.seek(start, "start")
    for (let at = 0; at < length;) {
      // The operating system reads at most 2 GiB at once.
      const read = Number(yield* file.read(bytes.subarray(at, Math.min(length, at + 2 ** 30))))
      if (read === 0)
        return yield* invalid(
          path,
          `ends at byte ${start + at} where ${start + length} were expected; fetch the file again`
        )
      at += read
    }
    return bytes
  }).pipe(Effect.mapError((error) => (error._tag === "ModelError" ? error : readFailure(path, "")(error))))

/**
 * The tensors of a file, by name; the bytes are not read. Refuses a file whose length is not what its header says, so
 * that a truncated download is found before anything is computed.
 */
export const openSafetensors = (
  path: string,
  todo = "fetch it, or check the path"
): Effect.Effect<ReadonlyMap<string, StoredTensor>, ModelError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(path).pipe(Effect.mapError(readFailure(path, todo)))
    const size = Number((yield* file.stat.pipe(Effect.mapError(readFailure(path, "")))).size)
    if (size < 8)
      return yield* invalid(path, `has ${size} bytes where at least 8 were expected; fetch the file again`)
    const lengthBytes = yield* readBytes(file, path, 0, 8)
    const length = new DataView(lengthBytes.buffer).getBigUint64(0, true)
    if (length > longestHeader)
      return yield* invalid(
        path,
        `says its header has ${length} bytes, more than the format allows: not a safetensors file`
      )
    const base = 8 + Number(length)
    if (base > size)
      return yield* invalid(
        path,
        `is truncated: ${size} bytes found, ${base} expected for the header alone; fetch the file again`
      )
    const text = new TextDecoder().decode(yield* readBytes(file, path, 8, Number(length)))
    const header = yield* parseJson(text, "InvalidWeights", path).pipe(
      Effect.flatMap(decode(Header, "InvalidWeights", path))
    )
    return yield* layout(path, size, base, header)
  }).pipe(Effect.scoped)

const layout = (path: string, size: number, base: number, header: typeof Header.Type) =>
  Effect.gen(function* () {
    const tensors = new Map<string, StoredTensor>()
    for (const [name, entry] of Object.entries(header)) {
      if (name === "__metadata__" || entry === undefined) continue
      const decoded = yield* decode(Entry, "InvalidWeights", path)(entry)
      const each = elementBytes[decoded.dtype]
      if (each === undefined)
        return yield* invalid(path, `tensor ${name} has the unknown type ${decoded.dtype}`)
      const [begin, end] = decoded.data_offsets
      const expected = decoded.shape.reduce((product, n) => product * n, each)
      if (end - begin !== expected)
        return yield* invalid(
          path,
          `tensor ${name} takes ${end - begin} bytes where ${decoded.dtype} [${decoded.shape.join(", ")}] ` +
            `needs ${expected}`
        )
      tensors.set(name, {
        file: path,
        dtype: decoded.dtype,
        shape: decoded.shape,
        start: base + begin,
        end: base + end
      })
    }
    // Without gaps or overlaps no tensor can be listed twice, or hide bytes.
    let at = base
    for (const [name, tensor] of [...tensors].sort(([, a], [, b]) => a.start - b.start || a.end - b.end)) {
      if (tensor.start !== at)
        return yield* invalid(
          path,
          `tensor ${name} starts at byte ${tensor.start - base} of the data where ${at - base} was expected: ` +
            (tensor.start < at ? "tensors overlap" : "there is a gap, or a name is listed twice")
        )
      at = tensor.end
    }
    if (at !== size)
      return yield* invalid(
        path,
        at > size
          ? `is truncated: ${size} bytes found, ${at} expected; fetch the file again`
          : `has ${size} bytes where ${at} were expected: ${size - at} follow the last tensor`
      )
    return tensors
  })

/** The numbers of a tensor, row-major, as float32. */
export const readTensor = (
  name: string,
  tensor: StoredTensor
): Effect.Effect<Float32Array, ModelError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const format = asFloatFormat(tensor.dtype)
    if (format === undefined)
      return yield* invalid(
        tensor.file,
        `tensor ${name} is stored as ${tensor.dtype}; convert it to BF16, F16 or F32`
      )
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(tensor.file).pipe(Effect.mapError(readFailure(tensor.file, "")))
    const bytes = yield* readBytes(file, tensor.file, tensor.start, tensor.end - tensor.start)
    const data = decodeFloats(format, bytes)
    const bad = firstNotFinite(data)
    if (bad >= 0)
      return yield* invalid(
        tensor.file,
        `tensor ${name} holds ${data[bad]} at element ${bad}; the weights are damaged or were exported wrongly`
      )
    return data
  }).pipe(Effect.scoped)

// A plain loop: a callback per number would take longer than decoding them.
const firstNotFinite = (data: Float32Array): number => {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i
  return -1
}

const asFloatFormat = (dtype: string): FloatFormat | undefined =>
  dtype === "BF16" || dtype === "F16" || dtype === "F32" ? dtype : undefined
