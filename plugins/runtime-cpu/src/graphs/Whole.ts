/**
 * The graph of a whole model's influence: forward and backward in one run. Every attention matrix is in memory at once,
 * so it is for short sequences, where many small runs would cost more than what they compute.
 */
import type { LlamaConfig, Objective } from "@tessera/runtime"
import { GraphBuilder, type Value } from "../onnx/GraphBuilder.js"
import { Tape } from "../onnx/Tape.js"
import { type BlockSum, wholeAttention } from "./Attention.js"
import { headInputs, logitsFrom, objectiveOf } from "./Head.js"
import { afterAttention, layerInputs, positionInputs, projections } from "./Layer.js"
import { ofLayer } from "./Layout.js"

/**
 * x, counted_rows and labels [counted, 1], scale → the objective of each row, and per layer the block sums `e` of scale · their
 * sum [KV heads, query blocks, group, key blocks].
 */
export const influence = (config: LlamaConfig, objective: Objective, sum: BlockSum): Uint8Array => {
  const { layers, hidden, headDim } = config
  const g = new GraphBuilder("influence")
  const tape = new Tape(g)
  const positions = positionInputs(g, headDim)
  const attention = wholeAttention(tape, sum, headDim)
  const sums: Array<Value> = []

  let x = g.input("x", ["tokens", hidden])
  const start = x
  for (let layer = 0; layer < layers; layer++) {
    const weights = layerInputs(g, config, (weight) => ofLayer(layer, weight))
    const { q, k, v } = projections(tape, config, x, { ...weights.qkv(), ...positions })
    const o = attention.attend(q, k, v, (e) => (sums[layer] = e))
    x = afterAttention(tape, config, x, o, weights.post())
  }
  const counted = tape.rows(x, g.input("counted_rows", ["counted", 1], "int64"))
  const logits = logitsFrom(tape, config, counted, headInputs(g, config))
  const labels = g.input("labels", ["counted", 1], "int64")
  const { loss, gradient } = objectiveOf(g, config, logits, labels, objective)
  g.output("loss", loss)
  // The way back to the start is laid for what it visits; what nothing needs of it is not in the graph.
  tape.gradients([[logits, g.mul(gradient, g.input("scale", []))]], [start])
  sums.forEach((e, layer) => g.output(ofLayer(layer, "e"), e))
  return g.bytes()
}
