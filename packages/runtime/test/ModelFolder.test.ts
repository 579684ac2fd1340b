import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { decodeLlamaConfig, openModelFolder } from "../src/index.js"
import {
  f32,
  folderOf,
  safetensors,
  tensorsOf,
  tinyConfig,
  tinyTokenizer,
  type TestTensor,
  run
} from "./folder.js"

const files = (json: object, change: (tensors: Record<string, TestTensor>) => void = () => {}) =>
  Effect.gen(function* () {
    const tensors = tensorsOf(yield* decodeLlamaConfig({ path: "config.json", json }))
    change(tensors)
    return {
      "config.json": json,
      "tokenizer.json": tinyTokenizer,
      "model.safetensors": safetensors(tensors)
    }
  })

const refused = (content: Readonly<Record<string, Uint8Array | string | object>>) =>
  folderOf(content).pipe(
    Effect.flatMap((folder) => Effect.flip(openModelFolder(folder))),
    Effect.scoped
  )

describe("openModelFolder", () => {
  it.each([
    ["Llama, untied", {}],
    ["Llama, tied", { tie_word_embeddings: true }],
    ["Llama with biases", { attention_bias: true }],
    ["Mistral", { architectures: ["MistralForCausalLM"], head_dim: 4 }],
    ["Qwen2", { architectures: ["Qwen2ForCausalLM"] }]
  ] as const)("opens %s", (_name, change) =>
    run(
      Effect.gen(function* () {
        const folder = yield* files({ ...tinyConfig, ...change }).pipe(Effect.flatMap(folderOf))
        const model = yield* openModelFolder(folder)
        expect(model.path).toBe(folder)
        expect(model.config.layers).toBe(2)
        expect(model.tokenizer.encode("ab")).toEqual([2, 3])
        expect(model.weights.has("lm_head.weight")).toBe(!model.config.tiedEmbeddings)
        expect(model.weights.has("model.layers.1.self_attn.q_proj.bias")).toBe(model.config.attentionBias)
      })
    )
  )

  it("names a tensor that is missing", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused(
          yield* files(tinyConfig, (tensors) => delete tensors["model.layers.1.mlp.up_proj.weight"])
        )
        expect(error.reason).toBe("InvalidWeights")
        expect(error.message).toContain("no tensor model.layers.1.mlp.up_proj.weight")
      })
    ))

  it("names a tensor of another shape than the config's", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused(
          yield* files(tinyConfig, (tensors) => (tensors["model.norm.weight"] = f32([2], [1, 1])))
        )
        expect(error.message).toContain("model.norm.weight has the shape [2] where config.json asks for [8]")
      })
    ))

  it("says which file is missing, or that the folder is", () =>
    run(
      Effect.gen(function* () {
        const all = yield* files(tinyConfig)
        for (const [name, reason] of [
          ["config.json", "NotFound"],
          ["tokenizer.json", "NotFound"],
          ["model.safetensors", "NotFound"]
        ] as const) {
          const error = yield* refused(
            Object.fromEntries(Object.entries(all).filter(([file]) => file !== name))
          )
          expect(error.reason).toBe(reason)
          expect(error.path).toMatch(new RegExp(`${name.replace(".", "\\.")}$`))
        }
        const error = yield* Effect.flip(openModelFolder("no/such/folder"))
        expect(error.message).toContain(
          "no/such/folder: there is no such file; give the path of a Hugging Face model"
        )
      })
    ))

  it("names a file that is not JSON", () =>
    run(
      Effect.gen(function* () {
        const error = yield* refused({ ...(yield* files(tinyConfig)), "config.json": "{" })
        expect(error.reason).toBe("InvalidConfig")
        expect(error.message).toMatch(/config\.json: is not JSON/)
      })
    ))
})
