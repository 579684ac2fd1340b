/**
 * The graphs of attention: one tile of queries, of one or several KV heads, against the keys that they may keep.
 *
 * A tile holds per KV head `rows` = tokens · group query rows (the group's query heads of a token side by side). Which
 * keys a row keeps is decided by positions: key ≤ query, and key ≥ the row's window start or key < sink.
 */
import { GraphBuilder, type Value } from "../onnx/GraphBuilder.js"

/** Below every score, and finite: a row that keeps nothing must not become NaN. */
const MASKED = -1e30

const keptKeys = (g: GraphBuilder, sparse: boolean): Value => {
  const keys = g.input("key_position", [1, "keys"], "int32")
  const causal = g.op("LessOrEqual", [keys, g.input("query_position", ["rows", 1], "int32")])
  if (!sparse) return causal
  const window = g.op("GreaterOrEqual", [keys, g.input("window_start", ["rows", 1], "int32")])
  const sink = g.op("Less", [keys, g.input("sink", [], "int32")])
  return g.op("And", [causal, g.op("Or", [window, sink])])
}

const probabilities = (g: GraphBuilder, q: Value, k: Value, kept: Value, headDim: number): Value => {
  const scores = g.matmul(q, k, { transB: true, alpha: 1 / Math.sqrt(headDim) })
  return g.softmax(g.where(kept, scores, g.scalar(MASKED)))
}

const tileInputs = (g: GraphBuilder, headDim: number) => ({
  q: g.input("q", ["heads", "rows", headDim]),
  k: g.input("k", ["heads", "keys", headDim]),
  v: g.input("v", ["heads", "keys", headDim])
})

/** q, k, v → o. */
export const attend = (headDim: number, sparse: boolean): Uint8Array => {
  const g = new GraphBuilder("attend")
  const { q, k, v } = tileInputs(g, headDim)
  g.output("o", g.matmul(probabilities(g, q, k, keptKeys(g, sparse), headDim), v))
  return g.bytes()
}

/**
 * q, k, v, d_o → block sums of E [heads, query blocks, group, key blocks], and the gradients dq, dk, dv.
 *
 * E = -dS / (1 - A) cancels where one entry b of a row has A near 1. Such an entry (at most one a row has A > 1/2) is
 * kept apart: with lo and s the sums of A and of A·dP over the others,
 *   δ = Σ A·dP = s + (1 - lo)·dP_b   and   E_b = -A_b · (dP_b - s / lo),
 * because 1 - A_b = lo. A row whose only key is b (the first one) has lo = 0 and no other key to turn to: E_b = 0.
 */
export const attendBackward = (headDim: number, sum: "signed" | "abs"): Uint8Array => {
  const g = new GraphBuilder("attend-backward")
  const { q, k, v } = tileInputs(g, headDim)
  const dO = g.input("d_o", ["heads", "rows", headDim])
  // [heads, query blocks, block, group, key blocks, block]
  const shape = g.input("block_shape", [6], "int64")
  const zero = g.scalar(0)
  const p = probabilities(g, q, k, keptKeys(g, false), headDim)
  const dP = g.matmul(dO, v, { transB: true })

  const big = g.op("Greater", [p, g.scalar(0.5)])
  const small = g.where(big, zero, p)
  const lo = g.sum(small, [-1])
  const s = g.sum(g.mul(small, dP), [-1])
  const dPBig = g.sum(g.where(big, dP, zero), [-1])
  const delta = g.add(s, g.mul(g.sub(g.scalar(1), lo), dPBig))
  const dS = g.mul(p, g.sub(dP, delta))

  const alone = g.op("LessOrEqual", [lo, zero])
  const others = g.div(s, g.where(alone, g.scalar(1), lo))
  const bigE = g.mul(g.sub(g.scalar(1), lo), g.where(alone, zero, g.sub(others, dPBig)))
  const smallE = g.div(dS, g.sub(p, g.scalar(1)))
  const signed = g.where(big, bigE, smallE)
  const e = sum === "abs" ? g.op("Abs", [signed]) : signed
  g.output("e", g.sum(g.sum(g.op("Reshape", [e, shape]), [5], false), [2], false))

  const alpha = 1 / Math.sqrt(headDim)
  g.output("dq", g.matmul(dS, k, { alpha }))
  g.output("dk", g.matmul(dS, q, { transA: true, alpha }))
  g.output("dv", g.matmul(p, dO, { transA: true }))
  return g.bytes()
}
