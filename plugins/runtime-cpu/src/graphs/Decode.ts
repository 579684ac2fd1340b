/**
 * The graph of the whole model for one new token: one run per token, because at these sizes runs cost more than products.
 *
 * Each query head is a product of its own with one row, which ONNX Runtime computes as fast as it can read memory. The
 * cached keys are read where they lie, unused rows included; a mask of 0 and -1e30 hides those that a head does not keep.
 */
import type { LlamaConfig } from "@tessera/runtime"
import { GraphBuilder, type Value } from "../onnx/GraphBuilder.js"
import { Tape } from "../onnx/Tape.js"
import { headInputs, logitsFrom } from "./Head.js"
import { afterAttention, layerInputs, positionInputs, projections } from "./Layer.js"
import { group, ofLayer } from "./Layout.js"

/** x and per layer k, v, mask → logits, and per layer the token's own k and v [KV heads, 1, head dim]. */
export const decode = (config: LlamaConfig): Uint8Array => {
  const { layers, hidden, kvHeads, headDim } = config
  const perHead = group(config)
  const alpha = 1 / Math.sqrt(headDim)
  const g = new GraphBuilder("decode")
  const tape = new Tape(g)
  const positions = positionInputs(g, headDim)
  const last = g.ints([-1])
  const slice = (value: Value, from: Value, to: Value) => g.op("Slice", [value, from, to, last])

  const layerOf = (x: Value, layer: number): Value => {
    const name = (input: string) => ofLayer(layer, input)
    const weights = layerInputs(g, config, name)
    const cache = (input: string) => g.input(name(input), [kvHeads, 1, name("rows"), headDim])
    const mask = g.input(name("mask"), [name("mask_kv"), name("mask_group"), 1, name("keys")])
    const { q, k, v } = projections(tape, config, x, { ...weights.qkv(), ...positions })
    g.output(name("new_k"), k)
    g.output(name("new_v"), v)
    const own = (value: Value) => g.reshape(value, [kvHeads, 1, 1, headDim])
    const query = g.reshape(q, [kvHeads, perHead, 1, headDim])
    const scores = g.concat(
      [cache("k"), own(k)].map((keys) => g.matmul(query, keys, { transB: true, alpha })),
      -1
    )
    const a = g.softmax(g.add(scores, mask))
    const cached = g.matmul(slice(a, g.ints([0]), last), cache("v"))
    const o = g.add(cached, g.mul(slice(a, last, g.ints([2 ** 31])), own(v)))
    return afterAttention(tape, config, x, g.reshape(o, [kvHeads, perHead, headDim]), weights.post())
  }

  let x = g.input("x", [1, hidden])
  for (let layer = 0; layer < layers; layer++) x = layerOf(x, layer)
  g.output("logits", logitsFrom(tape, config, x, headInputs(g, config)))
  return g.bytes()
}
