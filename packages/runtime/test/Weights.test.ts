import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { openWeights } from "../src/index.js"
import { f32, folderOf, rawSafetensors, safetensors, run, type TestTensor } from "./folder.js"

const open = (files: Readonly<Record<string, Uint8Array | string | object>>) =>
  folderOf(files).pipe(Effect.flatMap(openWeights))

const refused = (files: Readonly<Record<string, Uint8Array | string | object>>) =>
  folderOf(files).pipe(
    Effect.flatMap((folder) => openWeights(folder).pipe(Effect.flip)),
    Effect.scoped
  )

const two = { a: f32([2, 2], [1, 2, 3, 4]), b: f32([3], [5, 6, 7]) }

describe("openWeights", () => {
  it("lists names and shapes and reads numbers", () =>
    run(
      Effect.gen(function* () {
        const weights = yield* open({ "model.safetensors": safetensors(two) })
        expect(weights.names).toEqual(["a", "b"])
        expect(weights.shape("a")).toEqual([2, 2])
        expect(weights.has("c")).toBe(false)
        expect(yield* weights.read("b")).toEqual({ shape: [3], data: Float32Array.of(5, 6, 7) })
      })
    ))

  it("reads half precision as float32", () =>
    run(
      Effect.gen(function* () {
        const stored = (dtype: string, ...bits: ReadonlyArray<number>): TestTensor => ({
          dtype,
          shape: [bits.length],
          bytes: new Uint8Array(Uint16Array.from(bits).buffer)
        })
        const weights = yield* open({
          "model.safetensors": safetensors({
            h: stored("F16", 0x3c00, 0xb800),
            b: stored("BF16", 0x3f80, 0xbf00)
          })
        })
        expect((yield* weights.read("h")).data).toEqual(Float32Array.of(1, -0.5))
        expect((yield* weights.read("b")).data).toEqual(Float32Array.of(1, -0.5))
      })
    ))

  it("reads a sharded checkpoint through its index", () =>
    run(
      Effect.gen(function* () {
        const weights = yield* open({
          "one.safetensors": safetensors({ a: two.a }),
          "two.safetensors": safetensors({ b: two.b }),
          "model.safetensors.index.json": { weight_map: { a: "one.safetensors", b: "two.safetensors" } }
        })
        expect(weights.names).toEqual(["a", "b"])
        expect((yield* weights.read("a")).data).toEqual(Float32Array.of(1, 2, 3, 4))
        expect((yield* weights.read("b")).data).toEqual(Float32Array.of(5, 6, 7))
      })
    ))

  it("names a missing shard", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused({
          "one.safetensors": safetensors({ a: two.a }),
          "model.safetensors.index.json": { weight_map: { a: "one.safetensors", b: "two.safetensors" } }
        })
        expect(error.reason).toBe("NotFound")
        expect(error.message).toMatch(/two\.safetensors.*index\.json names it: fetch this shard/)
      })
    ))

  it("refuses an index that promises a tensor its shard lacks", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused({
          "one.safetensors": safetensors({ a: two.a }),
          "model.safetensors.index.json": { weight_map: { a: "one.safetensors", b: "one.safetensors" } }
        })
        expect(error.reason).toBe("InvalidWeights")
        expect(error.message).toContain("does not hold tensor b")
      })
    ))

  it("refuses an index that leads out of the folder", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused({
          "model.safetensors.index.json": { weight_map: { a: "../one.safetensors" } }
        })
        expect(error.message).toContain("weight_map.a: a shard must be a file name in the same folder")
      })
    ))

  it("says what is missing where there are no weights at all", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused({})
        expect(error.reason).toBe("NotFound")
        expect(error.message).toContain("neither this file nor model.safetensors.index.json")
      })
    ))

  it("finds every truncation on opening, with the bytes found and expected", () =>
    run(
      Effect.gen(function* () {
        const file = safetensors(two)
        for (const size of [0, 7, 8, 40, file.length - 28, file.length - 1]) {
          const error = yield* refused({ "model.safetensors": file.subarray(0, size) })
          expect(error.reason).toBe("InvalidWeights")
          expect(error.path).toMatch(/model\.safetensors$/)
          expect(error.detail).toMatch(new RegExp(`(has|truncated:) ${size} bytes`))
          expect(error.detail).toContain("expected")
        }
        const error = yield* refused({ "model.safetensors": file.subarray(0, file.length - 1) })
        expect(error.detail).toContain(`${file.length - 1} bytes found, ${file.length} expected`)
      })
    ))

  const entry = (shape: ReadonlyArray<number>, begin: number, end: number, dtype = "F32") =>
    JSON.stringify({ dtype, shape, data_offsets: [begin, end] })

  it.each([
    ["a header that is not JSON", "{nope", 0, /is not JSON/],
    ["a header that is no object", "[]", 0, /not as expected/],
    ["an entry without a shape", `{"a":{"dtype":"F32"}}`, 0, /shape: is missing/],
    ["a negative size", `{"a":${entry([-1], 0, 4)}}`, 4, /shape/],
    ["an unknown type", `{"a":${entry([1], 0, 4, "Q4")}}`, 4, /tensor a has the unknown type Q4/],
    [
      "sizes that do not fit the shape",
      `{"a":${entry([2], 0, 4)}}`,
      4,
      /takes 4 bytes where F32 \[2\] needs 8/
    ],
    ["offsets that run backwards", `{"a":${entry([1], 4, 0)}}`, 4, /takes -4 bytes/],
    ["overlapping tensors", `{"a":${entry([2], 0, 8)},"b":${entry([1], 4, 8)}}`, 8, /tensor b .* overlap/],
    ["a gap", `{"a":${entry([1], 0, 4)},"b":${entry([1], 8, 12)}}`, 12, /tensor b .* gap/],
    ["a name listed twice", `{"a":${entry([1], 0, 4)},"a":${entry([1], 4, 8)}}`, 8, /listed twice/],
    ["bytes after the last tensor", `{"a":${entry([1], 0, 4)}}`, 9, /5 follow the last tensor/]
  ] as const)("refuses %s", (_name, header, bytes, message) =>
    run(
      Effect.gen(function* () {
        const error = yield* refused({ "model.safetensors": rawSafetensors(header, new Uint8Array(bytes)) })
        expect(error.reason).toBe("InvalidWeights")
        expect(error.message).toMatch(message)
      })
    )
  )

  it("refuses a file that is something else", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused({ "model.safetensors": "<!DOCTYPE html><html>not found</html>" })
        expect(error.message).toContain("not a safetensors file")
      })
    ))

  it.each([NaN, Infinity, -Infinity])("names the tensor that holds %d", (value) =>
    run(
      Effect.gen(function* () {
        const weights = yield* open({
          "model.safetensors": safetensors({ ...two, bad: f32([3], [1, value, 2]) })
        })
        const error = yield* Effect.flip(weights.read("bad"))
        expect(error.reason).toBe("InvalidWeights")
        expect(error.message).toContain(`tensor bad holds ${value} at element 1`)
        expect((yield* weights.read("a")).data).toHaveLength(4)
      })
    )
  )

  it("refuses to read integers as weights", () =>
    run(
      Effect.gen(function* () {
        const weights = yield* open({
          "model.safetensors": safetensors({ i: { dtype: "I32", shape: [1], bytes: new Uint8Array(4) } })
        })
        expect((yield* Effect.flip(weights.read("i"))).message).toContain("stored as I32; convert it")
      })
    ))
})
