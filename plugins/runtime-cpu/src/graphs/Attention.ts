/**
 * The graphs of attention: one tile of queries, of one or several KV heads, against the keys that they may keep.
 *
 * A tile holds per KV head `rows` = tokens · group query rows (the group's query heads of a token side by side). Which
 * keys a row keeps is decided by positions: key ≤ query, and key ≥ the row's window start or key < sink.
 */
import { GraphBuilder, type Value } from "../onnx/GraphBuilder.js"
import type { Tape } from "../onnx/Tape.js"

/** Below every score, and finite: a row that keeps nothing must not become NaN. */
const MASKED = -1e30

/** The smallest normal float32: sums of probabilities below it have no digits to divide by. */
const SMALLEST = 2 ** -126

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

/** Whether E is summed as it is or by its absolute value. */
export type BlockSum = "signed" | "abs"

/** Declares [heads, query blocks, block, group, key blocks, block]: how a tile falls into blocks. */
export const blockShape = (g: GraphBuilder): Value => g.input("block_shape", [6], "int64")

interface AttentionParts {
  readonly q: Value
  readonly k: Value
  readonly v: Value
  readonly a: Value
  readonly o: Value
  readonly dO: Value
}

/**
 * Block sums of E [heads, query blocks, group, key blocks], and the gradients of q, k and v.
 *
 * dS = A · (dP - δ) with δ = Σ A·dP = Σ dO·O, and E = -dS / (1 - A). Both cancel where one entry b of a row has A near 1.
 * Such an entry (at most one a row has A > 1/2) is left out at first, and computed from the others, because a row of dS sums to 0:
 *   dS_b = -Σ dS   and   E_b = Σ dS / Σ A,   sums over the others.
 * A row whose only key is b (the first one) has no other to turn to: E_b = 0.
 */
const influenceOf = (
  g: GraphBuilder,
  { q, k, v, a, o, dO }: AttentionParts,
  shape: Value,
  sum: BlockSum,
  headDim: number
) => {
  const delta = g.sum(g.mul(dO, o), [-1])
  const big = g.op("ThresholdedRelu", [a], { alpha: { f: 0.5 } })
  const others = g.sub(a, big)
  const left = g.sum(others, [-1])
  const dOthers = g.mul(others, g.sub(g.matmul(dO, v, { transB: true }), delta))
  const sumOthers = g.sum(dOthers, [-1])
  // `big` holds A_b itself, in rows that have a b: there it is 1 - left, and more than a half.
  const perBig = g.div(sumOthers, g.op("Max", [g.sub(g.scalar(1), left), g.scalar(0.5)]))
  const bigE = g.mul(big, g.div(perBig, g.op("Max", [left, g.scalar(SMALLEST)])))
  const signed = g.add(g.div(dOthers, g.sub(others, g.scalar(1))), bigE)
  const e = sum === "abs" ? g.op("Abs", [signed]) : signed
  const dS = g.sub(dOthers, g.mul(big, perBig))
  const alpha = 1 / Math.sqrt(headDim)
  return {
    e: g.sum(g.sum(g.op("Reshape", [e, shape]), [5], false), [2], false),
    dq: g.matmul(dS, k, { alpha }),
    dk: g.matmul(dS, q, { transA: true, alpha }),
    dv: g.matmul(a, dO, { transA: true })
  }
}

/** q, k, v, o, d_o → e and, unless only that is wanted, dq, dk, dv. */
export const attendBackward = (headDim: number, sum: BlockSum, gradients: boolean): Uint8Array => {
  const g = new GraphBuilder("attend-backward")
  const { q, k, v } = tileInputs(g, headDim)
  const o = g.input("o", ["heads", "rows", headDim])
  const dO = g.input("d_o", ["heads", "rows", headDim])
  const shape = blockShape(g)
  const a = probabilities(g, q, k, keptKeys(g, false), headDim)
  const { e, dq, dk, dv } = influenceOf(g, { q, k, v, a, o, dO }, shape, sum, headDim)
  g.output("e", e)
  if (!gradients) return g.bytes()
  g.output("dq", dq)
  g.output("dk", dk)
  g.output("dv", dv)
  return g.bytes()
}

/** Attention of all queries inside a larger graph. */
export interface WholeAttention {
  /** q, k, v → o. `visit` hears the block sums when the tape goes back through it. */
  readonly attend: (q: Value, k: Value, v: Value, visit: (e: Value) => void) => Value
}

/** Declares positions and block shape once for all layers. */
export const wholeAttention = (tape: Tape, sum: BlockSum, headDim: number): WholeAttention => {
  const g = tape.graph
  const kept = keptKeys(g, false)
  const shape = blockShape(g)
  return {
    attend: (q, k, v, visit) => {
      const a = probabilities(g, q, k, kept, headDim)
      const o = g.matmul(a, v)
      return tape.record(o, [q, k, v], (dO) => {
        const { e, dq, dk, dv } = influenceOf(g, { q, k, v, a, o, dO }, shape, sum, headDim)
        visit(e)
        return [dq, dk, dv]
      })
    }
  }
}
