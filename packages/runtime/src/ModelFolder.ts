/**
 * A Hugging Face model folder, opened and checked: config.json, tokenizer.json and safetensors weights.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { Effect } from "effect"
import { type ConfigSource, decodeConfig } from "./ConfigFile.js"
import { ModelError } from "./Errors.js"
import { readFailure, readJson, readOptionalJson } from "./Files.js"
import { decodeLlamaConfig, type LlamaConfig } from "./LlamaConfig.js"
import { checkTensors } from "./LlamaTensors.js"
import type { ModelConfig } from "./ModelConfig.js"
import { makeTokenizer, type Tokenizer } from "./Tokenizer.js"
import { openWeights, type Weights } from "./Weights.js"

export interface ModelFolder {
  readonly path: string
  readonly config: LlamaConfig
  readonly tokenizer: Tokenizer
  readonly weights: Weights
}

/** Whether a folder is there; a better message than that of the first file missed. */
const checkFolder = (folder: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const todo = "give the path of a Hugging Face model folder"
    const info = yield* fs.stat(folder).pipe(Effect.mapError(readFailure(folder, todo)))
    if (info.type !== "Directory")
      return yield* new ModelError({ reason: "NotFound", path: folder, detail: `is not a folder; ${todo}` })
  })

const configSource = (
  folder: string
): Effect.Effect<ConfigSource, ModelError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const path = yield* Path.Path
    yield* checkFolder(folder)
    const configPath = path.join(folder, "config.json")
    const generationPath = path.join(folder, "generation_config.json")
    const json = yield* readJson(configPath, "InvalidConfig", "a model folder needs it")
    const generation = yield* readOptionalJson(generationPath, "InvalidConfig")
    return {
      path: configPath,
      json,
      generation: generation === undefined ? undefined : { path: generationPath, json: generation }
    }
  })

/** The config alone, of any decoder: config.json and, where there is one, generation_config.json. */
export const openConfig = (
  folder: string
): Effect.Effect<ModelConfig, ModelError, FileSystem.FileSystem | Path.Path> =>
  Effect.flatMap(configSource(folder), decodeConfig)

/** The model's tokenizer alone: tokenizer.json, tokenizer_config.json and chat_template.jinja. */
export const openTokenizer = (
  folder: string
): Effect.Effect<Tokenizer, ModelError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    yield* checkFolder(folder)
    const file = path.join(folder, "tokenizer.json")
    const templatePath = path.join(folder, "chat_template.jinja")
    const json = yield* readJson(
      file,
      "InvalidTokenizer",
      "save the tokenizer in the fast format (tokenizer.json) with transformers"
    )
    const config = yield* readOptionalJson(path.join(folder, "tokenizer_config.json"), "InvalidTokenizer")
    const template = yield* fs.exists(templatePath).pipe(
      Effect.flatMap((there) => (there ? fs.readFileString(templatePath) : Effect.succeed(undefined))),
      Effect.mapError(readFailure(templatePath, ""))
    )
    return yield* makeTokenizer({ path: file, json, config, template })
  })

/**
 * Opens the folder of a Llama-family model and checks that its parts are there, whole and of a supported kind. Weights
 * stay on disk until read.
 */
export const openModelFolder = (
  folder: string
): Effect.Effect<ModelFolder, ModelError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const config = yield* Effect.flatMap(configSource(folder), decodeLlamaConfig)
    const tokenizer = yield* openTokenizer(folder)
    const weights = yield* openWeights(folder)
    yield* checkTensors(folder, config, weights)
    return { path: folder, config, tokenizer, weights }
  })
