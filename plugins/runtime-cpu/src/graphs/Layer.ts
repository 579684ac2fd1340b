/**
 * The graphs of one decoder layer around its attention: projections before, residual and MLP after, and their backward
 * passes. Weights are inputs, so one session of each kind serves every layer.
 *
 * Layouts: x [tokens, hidden]; q and o [KV heads, tokens · group, head dim] with the group's query heads of a token side
 * by side, so that one KV head's queries are one matrix; k and v [KV heads, tokens, head dim].
 */
import type { LlamaConfig } from "@tessera/runtime"
import { GraphBuilder, type Value } from "../onnx/GraphBuilder.js"
import { Tape } from "../onnx/Tape.js"
import { group } from "./Layout.js"

/** Declares the cosines and sines of the tokens' positions. */
export const positionInputs = (g: GraphBuilder, headDim: number) => ({
  cos: g.input("cos", ["tokens", headDim]),
  sin: g.input("sin", ["tokens", headDim])
})

/**
 * Declares a layer's weights as inputs, those before the attention and those after it.
 *
 * @param name makes the input's name of the weight's
 */
export const layerInputs = (
  g: GraphBuilder,
  config: LlamaConfig,
  name: (weight: string) => string = (weight) => weight
) => {
  const { hidden, intermediate, queryHeads, kvHeads, headDim } = config
  const query = queryHeads * headDim
  const kv = kvHeads * headDim
  const input = (weight: string, shape: ReadonlyArray<number>) => g.input(name(weight), shape)
  return {
    qkv: () => ({
      norm: input("input_layernorm", [hidden]),
      q: input("q_proj", [query, hidden]),
      k: input("k_proj", [kv, hidden]),
      v: input("v_proj", [kv, hidden]),
      ...(config.attentionBias
        ? { qBias: input("q_bias", [query]), kBias: input("k_bias", [kv]), vBias: input("v_bias", [kv]) }
        : {})
    }),
    post: () => ({
      o: input("o_proj", [hidden, query]),
      ...(config.outputBias ? { oBias: input("o_bias", [hidden]) } : {}),
      norm: input("post_attention_layernorm", [hidden]),
      gate: input("gate_proj", [intermediate, hidden]),
      up: input("up_proj", [intermediate, hidden]),
      down: input("down_proj", [hidden, intermediate])
    })
  }
}

type Inputs = ReturnType<typeof layerInputs>
type Before = ReturnType<Inputs["qkv"]> & ReturnType<typeof positionInputs>

const before = (g: GraphBuilder, config: LlamaConfig): Before => ({
  ...layerInputs(g, config).qkv(),
  ...positionInputs(g, config.headDim)
})

export const projections = (tape: Tape, config: LlamaConfig, x: Value, w: Before) => {
  const { kvHeads, headDim } = config
  const perHead = group(config)
  const g = tape.graph
  const normal = tape.rmsNorm(x, w.norm, config.rmsNormEpsilon)
  const positions = (values: Value, rank: 3 | 4) =>
    g.reshape(values, rank === 4 ? [-1, 1, 1, headDim] : [-1, 1, headDim])
  const queries = tape.reshape(
    tape.linear(normal, w.q, w.qBias),
    [-1, kvHeads, perHead, headDim],
    [-1, kvHeads * perHead * headDim]
  )
  const rotated = tape.rope(queries, positions(w.cos, 4), positions(w.sin, 4))
  const q = tape.reshape(
    tape.transpose(rotated, [1, 0, 2, 3]),
    [kvHeads, -1, headDim],
    [kvHeads, -1, perHead, headDim]
  )
  const heads = (weight: Value, bias: Value | undefined) =>
    tape.reshape(tape.linear(normal, weight, bias), [-1, kvHeads, headDim], [-1, kvHeads * headDim])
  const k = tape.transpose(
    tape.rope(heads(w.k, w.kBias), positions(w.cos, 3), positions(w.sin, 3)),
    [1, 0, 2]
  )
  const v = tape.transpose(heads(w.v, w.vBias), [1, 0, 2])
  return { q, k, v }
}

export const afterAttention = (
  tape: Tape,
  config: LlamaConfig,
  x: Value,
  o: Value,
  w: ReturnType<Inputs["post"]>
): Value => {
  const { kvHeads, headDim } = config
  const perHead = group(config)
  const tokens = tape.transpose(
    tape.reshape(o, [kvHeads, -1, perHead, headDim], [kvHeads, -1, headDim]),
    [1, 0, 2, 3]
  )
  const merged = tape.reshape(tokens, [-1, kvHeads * perHead * headDim], [-1, kvHeads, perHead, headDim])
  const middle = tape.add(x, tape.linear(merged, w.o, w.oBias))
  const normal = tape.rmsNorm(middle, w.norm, config.rmsNormEpsilon)
  const mlp = tape.linear(tape.swiGlu(tape.linear(normal, w.gate), tape.linear(normal, w.up)), w.down)
  return tape.add(middle, mlp)
}

const required = <A>(value: A | undefined): A => {
  if (value === undefined) throw new Error("the weights of this part were not declared")
  return value
}

/** x → q, k, v, or some of them. */
export const qkv = (config: LlamaConfig, outputs: "qkv" | "kv" | "q"): Uint8Array => {
  const g = new GraphBuilder(outputs)
  const x = g.input("x", ["tokens", config.hidden])
  const { q, k, v } = projections(new Tape(g), config, x, before(g, config))
  if (outputs !== "kv") g.output("q", q)
  if (outputs === "q") return g.bytes()
  g.output("k", k)
  g.output("v", v)
  return g.bytes()
}

const oShape = (config: LlamaConfig) => [config.kvHeads, "queries", config.headDim] as const

/** x, o → y: the layer's output. */
export const post = (config: LlamaConfig): Uint8Array => {
  const g = new GraphBuilder("post")
  const x = g.input("x", ["tokens", config.hidden])
  const o = g.input("o", oShape(config))
  g.output("y", afterAttention(new Tape(g), config, x, o, layerInputs(g, config).post()))
  return g.bytes()
}

/** x, o, dy → d_o, and dx by the ways around the attention. */
export const postBackward = (config: LlamaConfig): Uint8Array => {
  const g = new GraphBuilder("post-backward")
  const x = g.input("x", ["tokens", config.hidden])
  const o = g.input("o", oShape(config))
  const dy = g.input("dy", ["tokens", config.hidden])
  const tape = new Tape(g)
  const y = afterAttention(tape, config, x, o, layerInputs(g, config).post())
  const [dO, dx] = tape.gradients([[y, dy]], [o, x])
  g.output("d_o", required(dO))
  g.output("dx", required(dx))
  return g.bytes()
}

/** x, dq, dk, dv, dx by the other ways → dx. */
export const qkvBackward = (config: LlamaConfig): Uint8Array => {
  const g = new GraphBuilder("qkv-backward")
  const { kvHeads, headDim } = config
  const x = g.input("x", ["tokens", config.hidden])
  const dq = g.input("dq", oShape(config))
  const dk = g.input("dk", [kvHeads, "tokens", headDim])
  const dv = g.input("dv", [kvHeads, "tokens", headDim])
  const around = g.input("dx_around", ["tokens", config.hidden])
  const tape = new Tape(g)
  const { q, k, v } = projections(tape, config, x, before(g, config))
  const [dx] = tape.gradients(
    [
      [q, dq],
      [k, dk],
      [v, dv]
    ],
    [x]
  )
  g.output("dx", g.add(required(dx), around))
  return g.bytes()
}
