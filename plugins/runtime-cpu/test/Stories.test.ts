/** Against a model that nobody here trained: stories260K, from llama2.c's format. */
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { decodeLlamaConfig } from "@tessera/runtime"
import { Chunk, Effect, Stream } from "effect"
import { expect, it } from "vitest"
import { row } from "./Matrix.js"
import { argmax, forward, scoreOf } from "./Reference.js"
import { folderFiles, type Tiny, withModel } from "./TinyModel.js"

const path = fileURLToPath(new URL("../../../../shared/data/stories260K/stories260K.bin", import.meta.url))
const absent = !existsSync(path)
if (absent) console.warn("stories260K is skipped: ../shared/data/stories260K/stories260K.bin is not there")

/** llama2.c rotates pairs (2i, 2i + 1) of a head, Hugging Face pairs (i, i + half): rows move accordingly. */
const halfRotation = (rows: Float32Array, heads: number, width: number): Float32Array => {
  const headDim = rows.length / width / heads
  const moved = new Float32Array(rows.length)
  for (let head = 0; head < heads; head++)
    for (let i = 0; i < headDim; i++) {
      const from = head * headDim + 2 * (i % (headDim / 2)) + (i < headDim / 2 ? 0 : 1)
      moved.set(rows.subarray(from * width, (from + 1) * width), (head * headDim + i) * width)
    }
  return moved
}

/** Version 0: seven int32 of header, then float32 tensors, each of all layers together. */
const readStories = (): Tiny => {
  const { buffer } = Uint8Array.from(readFileSync(path))
  const [
    hidden = 0,
    intermediate = 0,
    layers = 0,
    queryHeads = 0,
    kvHeads = 0,
    vocabulary = 0,
    positions = 0
  ] = new Int32Array(buffer, 0, 7)
  const json = {
    architectures: ["LlamaForCausalLM"],
    vocab_size: vocabulary,
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: queryHeads,
    num_key_value_heads: kvHeads,
    max_position_embeddings: positions,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: true,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: "float32"
  }
  const kv = (hidden / queryHeads) * kvHeads
  let at = 28
  const take = (count: number): Float32Array => {
    const part = new Float32Array(buffer, at, count)
    at += 4 * count
    return part
  }
  const named = new Map<string, Float32Array>()
  const perLayer = (name: string, size: number, change = (part: Float32Array) => part) => {
    for (let layer = 0; layer < layers; layer++)
      named.set(`model.layers.${layer}.${name}.weight`, change(take(size)))
  }
  named.set("model.embed_tokens.weight", take(vocabulary * hidden))
  perLayer("input_layernorm", hidden)
  perLayer("self_attn.q_proj", hidden * hidden, (part) => halfRotation(part, queryHeads, hidden))
  perLayer("self_attn.k_proj", kv * hidden, (part) => halfRotation(part, kvHeads, hidden))
  perLayer("self_attn.v_proj", kv * hidden)
  perLayer("self_attn.o_proj", hidden * hidden)
  perLayer("post_attention_layernorm", hidden)
  perLayer("mlp.gate_proj", intermediate * hidden)
  perLayer("mlp.down_proj", intermediate * hidden)
  perLayer("mlp.up_proj", intermediate * hidden)
  named.set("model.norm.weight", take(hidden))
  return folderFiles(
    Effect.runSync(decodeLlamaConfig({ path: "config.json", json })),
    json,
    (name, count) => {
      const found = named.get(name)
      if (found?.length !== count) throw new Error(`the file's ${name} has not ${count} numbers`)
      return found
    }
  )
}

it.skipIf(absent)("tells a story as the float64 reference does, and is sure of it", async () => {
  const tiny = readStories()
  const [generation, scores] = await withModel(tiny, (model) =>
    Effect.gen(function* () {
      const request = { prompt: [1], maxNewTokens: 120 }
      const [generation] = Chunk.toReadonlyArray(yield* Stream.runCollect(model.generate([request])))
      const scores = yield* model.score({ prefix: [1], continuations: [generation?.tokens ?? []] })
      return [generation, scores[0]] as const
    })
  )
  const tokens = generation?.tokens ?? []
  expect(tokens).toHaveLength(120)
  const wanted = scoreOf(tiny, [1, ...tokens], 1)
  expect(tokens).toEqual(wanted.predicted)
  const { logits } = forward(tiny, [1])
  expect(tokens[0]).toBe(argmax(row(logits, 0)))
  wanted.loss.forEach((loss, i) =>
    expect(Math.abs((scores?.loss[i] ?? Number.NaN) - loss)).toBeLessThan(1e-3)
  )
  // Its own greedy text is likely only where weights and rotation were read as they were trained.
  expect(wanted.loss.reduce((a, b) => a + b, 0) / 120).toBeLessThan(0.8)
})
