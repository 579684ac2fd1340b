/**
 * A model's weights as tensors, read once.
 */
import { type LlamaConfig, type ModelError, type ModelFolder } from "@tessera/runtime"
import { Effect } from "effect"
import type { Tensor } from "onnxruntime-common"
import { ofLayer } from "./graphs/Layout.js"
import type { Feeds } from "./Sessions.js"
import { floats } from "./Tensors.js"

export interface LayerWeights {
  /** Feeds of the graph before the attention. */
  readonly qkv: Feeds
  /** Feeds of the graph after it. */
  readonly post: Feeds
}

export interface LoadedWeights {
  /** [vocabulary, hidden]. */
  readonly embedding: Float32Array
  readonly layers: ReadonlyArray<LayerWeights>
  readonly head: Feeds
  /** Feeds of a graph of the whole model. */
  readonly all: Feeds
}

export const load = ({ config, weights }: ModelFolder): Effect.Effect<LoadedWeights, ModelError> =>
  Effect.gen(function* () {
    const tensor = (name: string): Effect.Effect<Tensor, ModelError> =>
      Effect.map(weights.read(name), ({ shape, data }) => floats(data, shape))
    const embedding = yield* weights.read("model.embed_tokens.weight")
    const tied = Effect.succeed(floats(embedding.data, embedding.shape))
    const layers = yield* Effect.forEach(Array.from({ length: config.layers }), (_, i) =>
      layer(config, i, tensor)
    )
    const head = yield* Effect.all({
      norm: tensor("model.norm.weight"),
      lm_head: config.tiedEmbeddings ? tied : tensor("lm_head.weight")
    })
    const named = layers.flatMap(({ qkv, post }, i) =>
      Object.entries({ ...qkv, ...post }).map(([name, weight]) => [ofLayer(i, name), weight] as const)
    )
    return { embedding: embedding.data, layers, head, all: { ...Object.fromEntries(named), ...head } }
  })

const layer = (
  config: LlamaConfig,
  index: number,
  tensor: (name: string) => Effect.Effect<Tensor, ModelError>
): Effect.Effect<LayerWeights, ModelError> => {
  const at = (name: string) => tensor(`model.layers.${index}.${name}`)
  return Effect.all({
    qkv: Effect.all({
      input_layernorm: at("input_layernorm.weight"),
      q_proj: at("self_attn.q_proj.weight"),
      k_proj: at("self_attn.k_proj.weight"),
      v_proj: at("self_attn.v_proj.weight"),
      ...(config.attentionBias
        ? {
            q_bias: at("self_attn.q_proj.bias"),
            k_bias: at("self_attn.k_proj.bias"),
            v_bias: at("self_attn.v_proj.bias")
          }
        : {})
    }),
    post: Effect.all({
      o_proj: at("self_attn.o_proj.weight"),
      post_attention_layernorm: at("post_attention_layernorm.weight"),
      gate_proj: at("mlp.gate_proj.weight"),
      up_proj: at("mlp.up_proj.weight"),
      down_proj: at("mlp.down_proj.weight"),
      ...(config.outputBias ? { o_bias: at("self_attn.o_proj.bias") } : {})
    })
  })
}
