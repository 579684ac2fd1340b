/**
 * The tensors a Llama-family checkpoint must hold, under transformers' names.
 */
import { Effect } from "effect"
import { ModelError } from "./Errors.js"
import type { LlamaConfig } from "./LlamaConfig.js"
import type { Weights } from "./Weights.js"

/** Names and shapes of every tensor the model computes with. */
export const llamaTensors = (config: LlamaConfig): ReadonlyMap<string, ReadonlyArray<number>> => {
  const query = config.queryHeads * config.headDim
  const kv = config.kvHeads * config.headDim
  const tensors = new Map<string, ReadonlyArray<number>>([
    ["model.embed_tokens.weight", [config.vocabulary, config.hidden]],
    ["model.norm.weight", [config.hidden]]
  ])
  if (!config.tiedEmbeddings) tensors.set("lm_head.weight", [config.vocabulary, config.hidden])
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`
    tensors.set(`${at}.input_layernorm.weight`, [config.hidden])
    tensors.set(`${at}.post_attention_layernorm.weight`, [config.hidden])
    tensors.set(`${at}.self_attn.q_proj.weight`, [query, config.hidden])
    tensors.set(`${at}.self_attn.k_proj.weight`, [kv, config.hidden])
    tensors.set(`${at}.self_attn.v_proj.weight`, [kv, config.hidden])
    tensors.set(`${at}.self_attn.o_proj.weight`, [config.hidden, query])
    tensors.set(`${at}.mlp.gate_proj.weight`, [config.intermediate, config.hidden])
    tensors.set(`${at}.mlp.up_proj.weight`, [config.intermediate, config.hidden])
    tensors.set(`${at}.mlp.down_proj.weight`, [config.hidden, config.intermediate])
    if (config.attentionBias) {
      tensors.set(`${at}.self_attn.q_proj.bias`, [query])
      tensors.set(`${at}.self_attn.k_proj.bias`, [kv])
      tensors.set(`${at}.self_attn.v_proj.bias`, [kv])
    }
    if (config.outputBias) tensors.set(`${at}.self_attn.o_proj.bias`, [config.hidden])
  }
  return tensors
}

/** Fails unless the weights hold every tensor in the shape that the config asks for. */
export const checkTensors = (
  folder: string,
  config: LlamaConfig,
  weights: Weights
): Effect.Effect<void, ModelError> =>
  Effect.gen(function* () {
    for (const [name, expected] of llamaTensors(config)) {
      const found = weights.shape(name)
      if (found?.join() === expected.join()) continue
      return yield* new ModelError({
        reason: "InvalidWeights",
        path: folder,
        detail:
          found === undefined
            ? `the weights hold no tensor ${name}, which config.json asks for`
            : `tensor ${name} has the shape [${found.join(", ")}] where config.json asks for [${expected.join(", ")}]`
      })
    }
  })
