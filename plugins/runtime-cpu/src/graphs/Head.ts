/**
 * The graphs of the language model's head, on chosen rows only.
 */
import type { LlamaConfig, Objective } from "@tessera/runtime"
import { GraphBuilder, type Value } from "../onnx/GraphBuilder.js"
import { Tape } from "../onnx/Tape.js"

/** Declares the head's weights as inputs. */
export const headInputs = (g: GraphBuilder, config: LlamaConfig) => ({
  norm: g.input("norm", [config.hidden]),
  weight: g.input("lm_head", [config.vocabulary, config.hidden])
})

export const logitsFrom = (
  tape: Tape,
  config: LlamaConfig,
  x: Value,
  { norm, weight }: ReturnType<typeof headInputs>
): Value => tape.linear(tape.rmsNorm(x, norm, config.rmsNormEpsilon), weight)

const logitsOf = (config: LlamaConfig) => {
  const g = new GraphBuilder("head")
  const tape = new Tape(g)
  const x = g.input("x", ["rows", config.hidden])
  const logits = logitsFrom(tape, config, x, headInputs(g, config))
  return { g, tape, x, logits }
}

const target = (g: GraphBuilder, logits: Value, labels: Value): Value =>
  g.op("GatherElements", [logits, labels], { axis: 1 })

const logSumExp = (g: GraphBuilder, x: Value): Value =>
  g.op("ReduceLogSumExp", [x], { axes: [-1], keepdims: 1 })

/** x → logits. */
export const logits = (config: LlamaConfig): Uint8Array => {
  const { g, logits } = logitsOf(config)
  g.output("logits", logits)
  return g.bytes()
}

/** x, labels → the cross-entropy of each row and the id of its largest logit. */
export const score = (config: LlamaConfig): Uint8Array => {
  const { g, logits } = logitsOf(config)
  const labels = g.input("labels", ["rows", 1], "int64")
  g.output("loss", g.sub(logSumExp(g, logits), target(g, logits, labels)))
  g.output("predicted", g.op("ArgMax", [logits], { axis: -1, keepdims: 0 }), "int64")
  return g.bytes()
}

/**
 * The objective of each row, and its gradient with respect to the logits.
 *
 * Log-odds is log(1 - p) - log p = logsumexp over the other ids - the label's logit: it has no cancellation, however
 * close p is to 1.
 */
export const objectiveOf = (
  g: GraphBuilder,
  { vocabulary }: LlamaConfig,
  logits: Value,
  labels: Value,
  objective: Objective
) => {
  const ids = g.ints(Array.from({ length: vocabulary }, (_, id) => id))
  const isLabel = g.op("Equal", [ids, labels])
  const compared = objective === "log-odds" ? g.where(isLabel, g.scalar(-1e30), logits) : logits
  const oneHot = g.where(isLabel, g.scalar(1), g.scalar(0))
  return {
    loss: g.sub(logSumExp(g, compared), target(g, logits, labels)),
    gradient: g.sub(g.softmax(compared), oneHot)
  }
}

/** x, labels, scale → the objective of each row, and dx of scale · their sum. */
export const headBackward = (config: LlamaConfig, objective: Objective): Uint8Array => {
  const { g, tape, x, logits } = logitsOf(config)
  const labels = g.input("labels", ["rows", 1], "int64")
  const scale = g.input("scale", [])
  const { loss, gradient } = objectiveOf(g, config, logits, labels, objective)
  g.output("loss", loss)
  const [dx] = tape.gradients([[logits, g.mul(gradient, scale)]], [x])
  g.output("dx", dx as Value)
  return g.bytes()
}
