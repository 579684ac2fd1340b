/**
 * The graph of a whole layer for a few new tokens after cached ones. Cached keys and values are read where they lie, as
 * two ranges per KV head: the sink, and the window before the new tokens. Nothing is copied.
 */
import type { LlamaConfig } from "@tessera/runtime"
import { GraphBuilder, type Value } from "../onnx/GraphBuilder.js"
import { Tape } from "../onnx/Tape.js"
import { afterAttention, layerInputs, positionInputs, projections } from "./Layer.js"

/** x, cache → y, and the new tokens' k and v. */
export const step = (config: LlamaConfig): Uint8Array => {
  const { hidden, kvHeads, headDim } = config
  const g = new GraphBuilder("step")
  const x = g.input("x", ["tokens", hidden])
  const weights = layerInputs(g, config)
  const queryPosition = g.input("query_position", ["rows", 1], "int32")
  const sink = g.input("sink", [], "int32")
  const tape = new Tape(g)
  const { q, k, v } = projections(tape, config, x, { ...weights.qkv(), ...positionInputs(g, headDim) })
  const perHead = (value: Value) =>
    kvHeads === 1
      ? [g.reshape(value, [-1, headDim])]
      : g.ops("Split", [value], kvHeads, { axis: 0 }).map((part) => g.reshape(part, [-1, headDim]))
  const [queries, newKeys, newValues] = [perHead(q), perHead(k), perHead(v)]
  const alpha = 1 / Math.sqrt(headDim)

  const outputs = queries.map((query, h) => {
    const cached = (name: string) => g.input(`${name}_${h}`, [`${name}_${h}_rows`, headDim])
    const keys = [cached("sink_k"), cached("window_k"), newKeys[h] as Value]
    const values = [cached("sink_v"), cached("window_v"), newValues[h] as Value]
    const keyPosition = g.input(`key_position_${h}`, [1, `keys_${h}`], "int32")
    const start = g.input(`window_start_${h}`, ["rows", 1], "int32")
    const kept = g.op("And", [
      g.op("LessOrEqual", [keyPosition, queryPosition]),
      g.op("Or", [g.op("GreaterOrEqual", [keyPosition, start]), g.op("Less", [keyPosition, sink])])
    ])
    const scores = g.concat(
      keys.map((key) => g.matmul(query, key, { transB: true, alpha })),
      -1
    )
    const a = g.softmax(g.where(kept, scores, g.scalar(-1e30)))
    const parts = g.ops("Split", [a, g.input(`ranges_${h}`, [3], "int64")], 3, { axis: -1 })
    const [first, second, third] = parts.map((part, i) => g.matmul(part, values[i] as Value))
    return g.add(g.add(first as Value, second as Value), third as Value)
  })
  const stacked = g.concat(
    outputs.map((o) => g.reshape(o, [1, -1, headDim])),
    0
  )
  g.output("y", afterAttention(tape, config, x, stacked, weights.post()))
  g.output("k", k)
  g.output("v", v)
  return g.bytes()
}
