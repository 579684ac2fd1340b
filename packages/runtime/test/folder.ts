/** Writes small model folders for tests. */
import { FileSystem, Path } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, type Scope } from "effect"
import { llamaTensors, type LlamaConfig } from "../src/index.js"

export interface TestTensor {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly bytes: Uint8Array
}

export const f32 = (shape: ReadonlyArray<number>, values: ReadonlyArray<number>): TestTensor => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer)
})

/** A file with the given header text, which need not be true, and data. */
export const rawSafetensors = (header: string, data: Uint8Array): Uint8Array => {
  const text = new TextEncoder().encode(header)
  const file = new Uint8Array(8 + text.length + data.length)
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true)
  file.set(text, 8)
  file.set(data, 8 + text.length)
  return file
}

export const safetensors = (tensors: Readonly<Record<string, TestTensor>>): Uint8Array => {
  let at = 0
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } }
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] }
    at += bytes.length
  }
  const data = new Uint8Array(at)
  at = 0
  for (const { bytes } of Object.values(tensors)) {
    data.set(bytes, at)
    at += bytes.length
  }
  return rawSafetensors(JSON.stringify(header), data)
}

export const tinyConfig = {
  architectures: ["LlamaForCausalLM"],
  vocab_size: 4,
  hidden_size: 8,
  intermediate_size: 6,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  torch_dtype: "float32",
  eos_token_id: 1
}

export const tinyTokenizer = {
  version: "1.0",
  added_tokens: [
    {
      id: 0,
      content: "<s>",
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
      single_word: false
    },
    {
      id: 1,
      content: "</s>",
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
      single_word: false
    }
  ],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: null,
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: { "<s>": 0, "</s>": 1, a: 2, b: 3 }, merges: [] }
}

/** Every tensor of the model, filled with 0.5. */
export const tensorsOf = (config: LlamaConfig): Record<string, TestTensor> =>
  Object.fromEntries(
    [...llamaTensors(config)].map(([name, shape]) => {
      const count = shape.reduce((product, n) => product * n, 1)
      return [
        name,
        f32(
          shape,
          Array.from({ length: count }, () => 0.5)
        )
      ]
    })
  )

/** A fresh folder with these files; gone when the scope closes. */
export const folderOf = (files: Readonly<Record<string, Uint8Array | string | object>>) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const folder = yield* fs.makeTempDirectoryScoped()
    for (const [name, content] of Object.entries(files)) {
      const bytes =
        content instanceof Uint8Array
          ? content
          : new TextEncoder().encode(typeof content === "string" ? content : JSON.stringify(content))
      yield* fs.writeFile(path.join(folder, name), bytes)
    }
    return folder
  })

/** Runs a test's program with the real file system. */
export const run = <A, E>(
  effect: Effect.Effect<A, E, FileSystem.FileSystem | Path.Path | Scope.Scope>
): Promise<A> => effect.pipe(Effect.scoped, Effect.provide(NodeContext.layer), Effect.runPromise)
