/**
 * A model folder from a GGUF file.
 */
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { Model } from "@tessera/attention"
import { stage, tree } from "@tessera/core"
import type { RuntimeError } from "@tessera/runtime"
import { Effect, Schema } from "effect"
import { failed } from "./Errors.js"
import { sources } from "./Interpreter.js"
import { TorchWorkers } from "./Workers.js"

/** A .gguf file, or a folder with one. */
export const GgufFile = tree("Gguf/1")

const ggufIn = (path: string): Effect.Effect<string, RuntimeError> =>
  Effect.tryPromise({
    try: async () => {
      if ((await stat(path)).isFile()) return [path]
      return (await readdir(path)).filter((name) => name.endsWith(".gguf")).map((name) => join(path, name))
    },
    catch: (cause) => failed("InvalidRequest", `${path} cannot be read: ${String(cause)}`, cause)
  }).pipe(
    Effect.flatMap(([file, ...more]) =>
      file !== undefined && more.length === 0
        ? Effect.succeed(file)
        : failed(
            "InvalidRequest",
            file === undefined
              ? `${path} holds no .gguf file`
              : `${path} holds ${more.length + 1} .gguf files; name one of them`
          )
    )
  )

/** Needs `RuntimeTorch.layer`; runs on the CPU whatever the runtime's device. */
export const importGguf = stage("import-gguf", {
  version: "1",
  module: import.meta.url,
  assets: [sources],
  description:
    "Makes a Hugging Face model folder of a GGUF file: weights as safetensors, config and tokenizer",
  inputs: { gguf: GgufFile },
  outputs: { model: Model },
  params: Schema.Struct({
    /** What quantised weights become. */
    dtype: Schema.optionalWith(Schema.Literal("float32", "bfloat16", "float16"), {
      default: () => "bfloat16" as const
    })
  }),
  fingerprint: Effect.flatMap(TorchWorkers, ({ hello }) =>
    Effect.map(hello, ({ torch, transformers }) => ({ facts: { torch, transformers } }))
  ),
  run: ({ gguf }, { dtype }, task) =>
    Effect.gen(function* () {
      const workers = yield* TorchWorkers
      const { worker } = yield* workers.at("")
      const folder = join(task.scratch, "model")
      const file = yield* ggufIn(gguf.path)
      yield* (yield* worker).ask("convertGguf", { file, folder, dtype })
      return { model: { folder } }
    })
})
