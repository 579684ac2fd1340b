/**
 * The embedded model runtime: ONNX graphs emitted here, executed by ONNX Runtime on the CPU.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { availableParallelism } from "node:os"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import {
  instructionSet,
  type LoadedModel,
  type ModelError,
  ModelRuntime,
  openModelFolder,
  type RuntimeError
} from "@tessera/runtime"
import { Effect, Layer, RcMap, type Scope, Stream } from "effect"
import { generate } from "./Generate.js"
import { influence, influenceSum } from "./influence/Influence.js"
import * as LoadedWeights from "./LoadedWeights.js"
import * as Rope from "./Rope.js"
import { score } from "./Score.js"
import * as Sessions from "./Sessions.js"

export interface Options {
  /** Threads of one execution; default: the number of cores. */
  readonly threads?: number
  /**
   * Bytes of attention scores that one run may hold; default: 512 MiB. Influence of sequences whose scores all fit takes
   * one run, of longer ones many smaller runs.
   */
  readonly scoreMemory?: number
}

const SCORE_MEMORY = 1 << 29

const version = (): string => {
  const file = createRequire(import.meta.url).resolve("onnxruntime-node/package.json")
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }
  return version
}

const load = (
  folder: string,
  options: Options
): Effect.Effect<LoadedModel, ModelError | RuntimeError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.gen(function* () {
    const model = yield* openModelFolder(folder)
    const executor = {
      config: model.config,
      sessions: yield* Sessions.make(model.config, options.threads),
      weights: yield* LoadedWeights.load(model),
      rope: Rope.make(model.config),
      scoreMemory: options.scoreMemory ?? SCORE_MEMORY
    }
    return {
      config: model.config,
      tokenizer: model.tokenizer,
      generate: (requests) =>
        Stream.mapEffect(Stream.fromIterable(requests), (request) =>
          Sessions.allocating("generation")(generate(executor, request))
        ),
      score: (request) => Sessions.allocating("scoring")(score(executor, request)),
      influence: (request) => Sessions.allocating("influence")(influence(executor, request)),
      influenceSum: (items, options) =>
        Sessions.allocating("influence")(influenceSum(executor, items, options))
    }
  })

/** Provides `ModelRuntime` by the embedded runtime. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelRuntime, never, FileSystem.FileSystem | Path.Path> =>
  Layer.scoped(
    ModelRuntime,
    Effect.gen(function* () {
      const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
      const models = yield* RcMap.make({
        lookup: (folder: string) => Effect.provide(load(folder, options), context),
        // A pipeline's next task wants the same model again.
        idleTimeToLive: "1 minute"
      })
      return ModelRuntime.of({
        fingerprint: Effect.sync(() => ({
          facts: { runtime: Sessions.NAME, onnxruntime: version() },
          modules: [import.meta.url],
          // The ways that scoreMemory chooses between differ in their last bits.
          device: {
            cpu: instructionSet(),
            threads: String(options.threads ?? availableParallelism()),
            scoreMemory: String(options.scoreMemory ?? SCORE_MEMORY)
          }
        })),
        // Cores that small models keep busy beside each other.
        resources: Effect.succeed({ cpu: 2 }),
        load: (folder) => RcMap.get(models, folder)
      })
    })
  )
