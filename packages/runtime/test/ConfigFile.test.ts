import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { decodeConfig } from "../src/index.js"
import { run } from "./folder.js"

const common = {
  vocab_size: 100,
  hidden_size: 64,
  num_hidden_layers: 3,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  max_position_embeddings: 4096
}

/** Decodes as from a file: a key that is undefined is not there. */
const decode = (architecture: string, json: object) =>
  decodeConfig({
    path: "m/config.json",
    json: JSON.parse(JSON.stringify({ ...common, architectures: [architecture], ...json }))
  })

describe("decodeConfig", () => {
  it.each([
    ["LlamaForCausalLM", {}, { headDim: 8 }],
    ["MistralForCausalLM", { head_dim: 16, sliding_window: null }, { headDim: 16 }],
    ["Qwen2ForCausalLM", { sliding_window: 128, use_sliding_window: false }, {}],
    ["Qwen2ForCausalLM", { sliding_window: 128 }, {}],
    ["Qwen3ForCausalLM", { head_dim: 128, torch_dtype: "bfloat16" }, { headDim: 128, bytesPerElement: 2 }],
    [
      "GemmaForCausalLM",
      { head_dim: 256, num_key_value_heads: 1, hidden_act: "gelu_pytorch_tanh" },
      { headDim: 256, kvHeads: 1 }
    ],
    ["PhiForCausalLM", { num_key_value_heads: null, partial_rotary_factor: 0.5 }, { kvHeads: 8 }],
    ["Phi3ForCausalLM", { sliding_window: 4096, rope_scaling: { type: "longrope" } }, {}],
    ["StableLmForCausalLM", { layer_types: ["full_attention", "full_attention", "full_attention"] }, {}]
  ] as const)("reads the attention shape of %s with %j", (architecture, json, expected) =>
    run(
      Effect.gen(function* () {
        expect(yield* decode(architecture, json)).toEqual({
          architecture,
          layers: 3,
          hidden: 64,
          queryHeads: 8,
          kvHeads: 2,
          headDim: 8,
          vocabulary: 100,
          maxPositions: 4096,
          beginOfText: undefined,
          endOfText: [],
          bytesPerElement: 4,
          ...expected
        })
      })
    )
  )

  it.each([
    ["MistralForCausalLM", { sliding_window: 1024 }, /sliding-window layers; only full attention/],
    ["Phi3ForCausalLM", { sliding_window: 2047 }, /sliding-window/],
    ["Qwen3ForCausalLM", { head_dim: 8, sliding_window: 128, use_sliding_window: true }, /sliding-window/],
    [
      "Gemma2ForCausalLM",
      { head_dim: 8, layer_types: ["sliding_attention", "full_attention", "sliding_attention"] },
      /sliding-window/
    ],
    [
      "Gemma3ForConditionalGeneration",
      { text_config: common },
      /nested in text_config .*save its language model alone/
    ],
    ["BertForMaskedLM", {}, /is BertForMaskedLM; supported are decoders/],
    ["LlamaForCausalLM", { quantization_config: { bits: 4 } }, /quantised/],
    ["LlamaForCausalLM", { torch_dtype: "int8" }, /the weights' type is int8/]
  ] as const)("refuses %s with %j as unsupported", (architecture, json, message) =>
    run(
      Effect.gen(function* () {
        const error = yield* Effect.flip(decode(architecture, json))
        expect(error).toMatchObject({
          _tag: "ModelError",
          reason: "UnsupportedArchitecture",
          path: "m/config.json"
        })
        expect(error.message).toMatch(message)
      })
    )
  )

  it.each([
    ["MistralForCausalLM", { num_key_value_heads: undefined }, /num_key_value_heads is missing/],
    ["GemmaForCausalLM", {}, /head_dim is missing/],
    ["FalconForCausalLM", { num_key_value_heads: 3 }, /no multiple of num_key_value_heads \(3\)/],
    ["PhiForCausalLM", { max_position_embeddings: undefined }, /max_position_embeddings: is missing/]
  ] as const)("refuses %s with %j as invalid", (architecture, json, message) =>
    run(
      Effect.gen(function* () {
        const error = yield* Effect.flip(decode(architecture, json))
        expect(error.reason).toBe("InvalidConfig")
        expect(error.message).toMatch(message)
      })
    )
  )
})
