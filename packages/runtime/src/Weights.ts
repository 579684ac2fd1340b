/**
 * The weights of a model folder: one safetensors file, or several with an index.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { Effect, Schema } from "effect"
import { ModelError } from "./Errors.js"
import { decode, readFailure, readJson } from "./Files.js"
import { openSafetensors, readTensor, type StoredTensor } from "./Safetensors.js"

export interface Weight {
  readonly shape: ReadonlyArray<number>
  /** Row-major. */
  readonly data: Float32Array
}

export interface Weights {
  /** Names of all tensors, sorted. */
  readonly names: ReadonlyArray<string>
  readonly has: (name: string) => boolean
  readonly shape: (name: string) => ReadonlyArray<number> | undefined
  /** A fresh copy, as float32; fails on numbers that are not finite. */
  readonly read: (name: string) => Effect.Effect<Weight, ModelError>
}

const Index = Schema.Struct({
  weight_map: Schema.Record({
    key: Schema.String,
    value: Schema.String.pipe(
      Schema.pattern(/^(?!\.)[^/\\]+$/, { message: () => "a shard must be a file name in the same folder" })
    )
  })
})

const single = "model.safetensors"
const index = "model.safetensors.index.json"

const openSharded = (folder: string) =>
  Effect.gen(function* () {
    const path = yield* Path.Path
    const indexPath = path.join(folder, index)
    const { weight_map: map } = yield* readJson(indexPath, "InvalidWeights", "").pipe(
      Effect.flatMap(decode(Index, "InvalidWeights", indexPath))
    )
    const shards = new Map<string, ReadonlyMap<string, StoredTensor>>()
    for (const name of new Set(Object.values(map)))
      shards.set(name, yield* openSafetensors(path.join(folder, name), `${index} names it: fetch this shard`))
    const tensors = new Map<string, StoredTensor>()
    for (const [name, shard] of Object.entries(map)) {
      const tensor = shards.get(shard)?.get(name)
      if (tensor === undefined)
        return yield* new ModelError({
          reason: "InvalidWeights",
          path: path.join(folder, shard),
          detail: `does not hold tensor ${name}, which ${index} says it does; fetch the folder again`
        })
      tensors.set(name, tensor)
    }
    return tensors
  })

/** Opens the weights and checks their layout; numbers are read when asked for. */
export const openWeights = (
  folder: string
): Effect.Effect<Weights, ModelError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const exists = (name: string) => {
      const file = path.join(folder, name)
      return fs.exists(file).pipe(Effect.mapError(readFailure(file, "")))
    }
    const tensors = (yield* exists(single))
      ? yield* openSafetensors(path.join(folder, single))
      : (yield* exists(index))
        ? yield* openSharded(folder)
        : yield* new ModelError({
            reason: "NotFound",
            path: path.join(folder, single),
            detail: `there is neither this file nor ${index}; save the model with safe_serialization=True`
          })
    return {
      names: [...tensors.keys()].sort(),
      has: (name) => tensors.has(name),
      shape: (name) => tensors.get(name)?.shape,
      read: (name) =>
        Effect.gen(function* () {
          const tensor = tensors.get(name)
          if (tensor === undefined)
            return yield* new ModelError({
              reason: "InvalidWeights",
              path: folder,
              detail: `the weights hold no tensor ${name}`
            })
          return { shape: tensor.shape, data: yield* readTensor(name, tensor) }
        }).pipe(Effect.provideService(FileSystem.FileSystem, fs))
    }
  })
