import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { attentionShape, decodeLlamaConfig } from "../src/index.js"
import { tinyConfig, run } from "./folder.js"

/** Decodes as from a file: a key that is undefined is not there. */
const decode = (json: object, generation?: object) =>
  decodeLlamaConfig({
    path: "m/config.json",
    json: JSON.parse(JSON.stringify(json)),
    generation: generation && { path: "m/generation_config.json", json: generation }
  })

const llama3 = {
  rope_type: "llama3",
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192
}

describe("decodeLlamaConfig", () => {
  it("reads a Llama config and fills in transformers' defaults", () =>
    run(
      Effect.gen(function* () {
        const config = yield* decode(tinyConfig)
        expect(config).toEqual({
          architecture: "LlamaForCausalLM",
          layers: 2,
          hidden: 8,
          intermediate: 6,
          queryHeads: 4,
          kvHeads: 2,
          headDim: 2,
          vocabulary: 4,
          maxPositions: 32,
          rmsNormEpsilon: 1e-6,
          ropeTheta: 10_000,
          ropeScaling: undefined,
          tiedEmbeddings: false,
          attentionBias: false,
          outputBias: false,
          beginOfText: undefined,
          endOfText: [1],
          bytesPerElement: 4
        })
        expect(attentionShape(config)).toEqual({
          architecture: "LlamaForCausalLM",
          layers: 2,
          queryHeads: 4,
          kvHeads: 2,
          headDim: 2
        })
      })
    ))

  it("lets head_dim differ from hidden / heads", () =>
    run(
      Effect.gen(function* () {
        expect((yield* decode({ ...tinyConfig, head_dim: 64 })).headDim).toBe(64)
      })
    ))

  it("gives every query head its own KV head where Llama names no KV heads", () =>
    run(
      Effect.gen(function* () {
        expect((yield* decode({ ...tinyConfig, num_key_value_heads: undefined })).kvHeads).toBe(4)
      })
    ))

  it("reads llama3 scaling from rope_scaling and from rope_parameters", () =>
    run(
      Effect.gen(function* () {
        const older = yield* decode({ ...tinyConfig, rope_theta: 500_000, rope_scaling: llama3 })
        const newer = yield* decode({ ...tinyConfig, rope_parameters: { ...llama3, rope_theta: 500_000 } })
        expect(older.ropeScaling).toEqual({
          type: "llama3",
          factor: 8,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalMaxPositions: 8192
        })
        expect(older.ropeTheta).toBe(500_000)
        expect(newer).toEqual(older)
      })
    ))

  it("knows which projections have biases", () =>
    run(
      Effect.gen(function* () {
        const biases = (architecture: string, more: object) =>
          decode({ ...tinyConfig, architectures: [architecture], ...more }).pipe(
            Effect.map(({ attentionBias, outputBias }) => [attentionBias, outputBias])
          )
        expect(yield* biases("LlamaForCausalLM", { attention_bias: true })).toEqual([true, true])
        expect(yield* biases("MistralForCausalLM", {})).toEqual([false, false])
        expect(yield* biases("Qwen2ForCausalLM", {})).toEqual([true, false])
      })
    ))

  it("joins the end tokens of both files", () =>
    run(
      Effect.gen(function* () {
        expect(
          (yield* decode({ ...tinyConfig, eos_token_id: [3, 1] }, { eos_token_id: 2 })).endOfText
        ).toEqual([1, 2, 3])
        expect((yield* decode({ ...tinyConfig, eos_token_id: null }, {})).endOfText).toEqual([])
      })
    ))

  it.each([
    ["bfloat16", 2],
    ["float16", 2],
    ["float32", 4]
  ] as const)("counts the bytes of %s", (dtype, bytes) =>
    run(
      Effect.gen(function* () {
        expect((yield* decode({ ...tinyConfig, torch_dtype: undefined, dtype })).bytesPerElement).toBe(bytes)
        expect((yield* decode({ ...tinyConfig, torch_dtype: dtype })).bytesPerElement).toBe(bytes)
      })
    )
  )

  it("ignores the window that Qwen2 states and does not use", () =>
    run(
      Effect.gen(function* () {
        const qwen = { ...tinyConfig, architectures: ["Qwen2ForCausalLM"], sliding_window: 16 }
        expect((yield* decode({ ...qwen, use_sliding_window: false })).architecture).toBe("Qwen2ForCausalLM")
        expect((yield* Effect.flip(decode({ ...qwen, use_sliding_window: true }))).reason).toBe(
          "UnsupportedArchitecture"
        )
      })
    ))

  it.each([
    [
      "another architecture",
      { architectures: ["GPT2LMHeadModel"] },
      /GPT2LMHeadModel; supported are LlamaForCausalLM/
    ],
    ["no architecture", { architectures: undefined }, /not stated; supported are/],
    ["a sliding window", { architectures: ["MistralForCausalLM"], sliding_window: 16 }, /sliding-window/],
    ["sliding layers", { layer_types: ["full_attention", "sliding_attention"] }, /sliding-window/],
    ["yarn", { rope_scaling: { rope_type: "yarn", factor: 4 } }, /scaled by yarn; default and llama3/],
    ["old linear scaling", { rope_scaling: { type: "linear", factor: 4 } }, /scaled by linear/],
    ["quantised weights", { quantization_config: { bits: 4 } }, /quantised/],
    ["another activation", { hidden_act: "gelu" }, /hidden_act is gelu; only silu/],
    ["MLP biases", { mlp_bias: true }, /mlp_bias/],
    ["partial rotary embeddings", { partial_rotary_factor: 0.5 }, /partial_rotary_factor/],
    ["another type", { torch_dtype: "float8_e4m3fn" }, /float8_e4m3fn; bfloat16, float16 and float32/]
  ] as const)("refuses %s as unsupported", (_name, change, message) =>
    run(
      Effect.gen(function* () {
        const error = yield* Effect.flip(decode({ ...tinyConfig, ...change }))
        expect(error.reason).toBe("UnsupportedArchitecture")
        expect(error.message).toMatch(message)
        expect(error.path).toBe("m/config.json")
      })
    )
  )

  it.each([
    ["a missing size", { hidden_size: undefined }, /hidden_size: is missing/],
    ["no layers", { num_hidden_layers: 0 }, /num_hidden_layers/],
    ["text for a number", { vocab_size: "4" }, /vocab_size/],
    ["KV heads that do not divide", { num_key_value_heads: 3 }, /no multiple of num_key_value_heads \(3\)/],
    ["an odd head dimension", { head_dim: 3 }, /must be even/],
    ["a head dimension that is not whole", { hidden_size: 9 }, /hidden_size \(9\) is no multiple/],
    ["an end token outside the vocabulary", { eos_token_id: 4 }, /eos_token_id 4 lies outside/],
    ["two different thetas", { rope_theta: 1e4, rope_parameters: { rope_theta: 5e5 } }, /contradicts/],
    [
      "llama3 scaling without its factors",
      { rope_scaling: { rope_type: "llama3", factor: 8 } },
      /needs factor/
    ]
  ] as const)("refuses %s as invalid", (_name, change, message) =>
    run(
      Effect.gen(function* () {
        const error = yield* Effect.flip(decode({ ...tinyConfig, ...change }))
        expect(error.reason).toBe("InvalidConfig")
        expect(error.message).toMatch(message)
      })
    )
  )

  it("names generation_config.json where that is wrong", () =>
    run(
      Effect.gen(function* () {
        const error = yield* Effect.flip(decode(tinyConfig, { eos_token_id: "x" }))
        expect(error.path).toBe("m/generation_config.json")
      })
    ))
})
