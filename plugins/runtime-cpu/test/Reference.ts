/**
 * The Llama forward and backward pass in float64, eager and by hand: attention matrices are kept whole and masks come
 * from the definition in @tessera/attention. It shares no code with the runtime under test.
 */
import { keeps, type Plan, ruleOfQueryHead, windowBlocks } from "@tessera/attention"
import type { LlamaConfig, Objective } from "@tessera/runtime"
import {
  addColumns,
  at,
  columns,
  fill,
  type Matrix,
  matrix,
  plus,
  row,
  times,
  timesTransposed,
  transposed,
  type Vector,
  zip
} from "./Matrix.js"

export interface ReferenceModel {
  readonly config: LlamaConfig
  /** By transformers' names; vectors are matrices of one row. */
  readonly weights: ReadonlyMap<string, Matrix>
}

/** (1 - t) · A_i + t · (A_i without `key`, renormalised) in place of one attention row A_i. */
export interface Perturbation {
  readonly layer: number
  readonly head: number
  readonly query: number
  readonly key: number
  readonly t: number
}

export interface ForwardOptions {
  readonly plan?: Plan | undefined
  /** N of the plan's rules. Default: the number of tokens. */
  readonly length?: number
  readonly perturbation?: Perturbation
}

interface LayerState {
  readonly x: Matrix
  readonly normal: Matrix
  /** Rotated queries and keys, and values, by query head; heads of a group share theirs. */
  readonly q: ReadonlyArray<Matrix>
  readonly k: ReadonlyArray<Matrix>
  readonly v: ReadonlyArray<Matrix>
  /** Attention by query head [tokens, tokens]. */
  readonly a: ReadonlyArray<Matrix>
  readonly middle: Matrix
  readonly middleNormal: Matrix
  readonly gate: Matrix
  readonly up: Matrix
}

export interface State {
  readonly layers: ReadonlyArray<LayerState>
  readonly x: Matrix
  /** [tokens, vocabulary] */
  readonly logits: Matrix
}

const weight = ({ weights }: ReferenceModel, name: string): Matrix => {
  const found = weights.get(name)
  if (found === undefined) throw new Error(`no tensor ${name}`)
  return found
}

const inLayer = (layer: number, name: string): string => `model.layers.${layer}.${name}`

const linear = (model: ReferenceModel, x: Matrix, name: string): Matrix => {
  const y = timesTransposed(x, weight(model, `${name}.weight`))
  const bias = model.weights.get(`${name}.bias`)
  return bias === undefined ? y : fill(y.rows, y.columns, (i, j) => at(y, i, j) + at(bias, 0, j))
}

const inverseRms = (x: Vector, epsilon: number): number =>
  1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + epsilon)

const rmsNorm = ({ config }: ReferenceModel, x: Matrix, scale: Matrix): Matrix => {
  const inverse = Array.from({ length: x.rows }, (_, i) => inverseRms(row(x, i), config.rmsNormEpsilon))
  return fill(x.rows, x.columns, (i, j) => at(x, i, j) * (inverse[i] ?? 0) * at(scale, 0, j))
}

/** y_j = x_j · r · g_j with r = (mean x² + ε)^-1/2, so dx_j = r·(g_j·dy_j) - x_j · r³/n · Σ x·g·dy. */
const rmsNormBackward = ({ config }: ReferenceModel, x: Matrix, scale: Matrix, dy: Matrix): Matrix => {
  const dx = matrix(x.rows, x.columns)
  for (let i = 0; i < x.rows; i++) {
    const r = inverseRms(row(x, i), config.rmsNormEpsilon)
    let sum = 0
    for (let j = 0; j < x.columns; j++) sum += at(x, i, j) * at(scale, 0, j) * at(dy, i, j)
    for (let j = 0; j < x.columns; j++)
      dx.data[i * x.columns + j] =
        r * at(scale, 0, j) * at(dy, i, j) - (at(x, i, j) * r ** 3 * sum) / x.columns
  }
  return dx
}

const frequency = ({ headDim, ropeTheta, ropeScaling }: LlamaConfig, i: number): number => {
  const plain = 1 / ropeTheta ** ((2 * i) / headDim)
  if (ropeScaling === undefined) return plain
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = ropeScaling
  // Turns over the original context decide: few are slowed down by the factor, many stay, between is interpolated.
  const turns = (originalMaxPositions * plain) / (2 * Math.PI)
  const smooth = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor)
  const kept = Math.min(1, Math.max(0, smooth))
  return kept * plain + ((1 - kept) * plain) / factor
}

/** Rotates the pairs (i, i + half); direction -1 is the transposed rotation. */
const rotate = (config: LlamaConfig, x: Matrix, direction: 1 | -1): Matrix => {
  const half = config.headDim / 2
  const frequencies = Array.from({ length: half }, (_, i) => frequency(config, i))
  return fill(x.rows, x.columns, (position, i) => {
    const angle = position * (frequencies[i % half] ?? 0)
    const partner = i < half ? -at(x, position, i + half) : at(x, position, i - half)
    return at(x, position, i) * Math.cos(angle) + direction * partner * Math.sin(angle)
  })
}

const softmax = (scores: Matrix): Matrix => {
  const result = matrix(scores.rows, scores.columns)
  for (let i = 0; i < scores.rows; i++) {
    const values = row(scores, i)
    const top = values.reduce((a, b) => Math.max(a, b), -Infinity)
    const powers = values.map((value) => Math.exp(value - top))
    const total = powers.reduce((a, b) => a + b, 0)
    result.data.set(
      powers.map((value) => value / total),
      i * scores.columns
    )
  }
  return result
}

const perturb = (a: Matrix, { query, key, t }: Perturbation): void => {
  const dropped = at(a, query, key)
  for (let k = 0; k < a.columns; k++) {
    const value = at(a, query, k)
    a.data[query * a.columns + k] = (1 - t) * value + (k === key ? 0 : (t * value) / (1 - dropped))
  }
}

const maskOf = (
  { config }: ReferenceModel,
  layer: number,
  head: number,
  n: number,
  options: ForwardOptions
) => {
  const { plan } = options
  if (plan === undefined) return (q: number, k: number) => k <= q
  const window = windowBlocks(ruleOfQueryHead(plan, layer, head), plan.geometry, options.length ?? n)
  if (layer >= config.layers) throw new Error("no such layer")
  return (q: number, k: number) => keeps(plan.geometry, window, q, k)
}

const attend = (model: ReferenceModel, layer: number, normal: Matrix, options: ForwardOptions) => {
  const { config } = model
  const { headDim, queryHeads, kvHeads } = config
  const project = (name: string) => linear(model, normal, inLayer(layer, `self_attn.${name}_proj`))
  const [allQ, allK, allV] = [project("q"), project("k"), project("v")]
  const heads = Array.from({ length: queryHeads }, (_, head) => head)
  const kvHead = (head: number) => Math.floor(head / (queryHeads / kvHeads))
  const q = heads.map((head) => rotate(config, columns(allQ, head * headDim, headDim), 1))
  const k = heads.map((head) => rotate(config, columns(allK, kvHead(head) * headDim, headDim), 1))
  const v = heads.map((head) => columns(allV, kvHead(head) * headDim, headDim))
  const a = heads.map((head) => {
    const keep = maskOf(model, layer, head, normal.rows, options)
    const scores = timesTransposed(q[head] ?? normal, k[head] ?? normal)
    const probabilities = softmax(
      fill(scores.rows, scores.columns, (i, j) =>
        keep(i, j) ? at(scores, i, j) / Math.sqrt(headDim) : -Infinity
      )
    )
    const { perturbation } = options
    if (perturbation?.layer === layer && perturbation.head === head) perturb(probabilities, perturbation)
    return probabilities
  })
  const o = matrix(normal.rows, queryHeads * headDim)
  for (const head of heads) addColumns(o, head * headDim, times(a[head] ?? normal, v[head] ?? normal))
  return { q, k, v, a, o }
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

const headName = ({ config }: ReferenceModel): string =>
  config.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"

export const forward = (
  model: ReferenceModel,
  tokens: ReadonlyArray<number>,
  options: ForwardOptions = {}
): State => {
  const embedding = weight(model, "model.embed_tokens.weight")
  let x = fill(tokens.length, model.config.hidden, (i, j) => at(embedding, tokens[i] ?? -1, j))
  const layers: Array<LayerState> = []
  for (let layer = 0; layer < model.config.layers; layer++) {
    const normal = rmsNorm(model, x, weight(model, inLayer(layer, "input_layernorm.weight")))
    const { o, ...attention } = attend(model, layer, normal, options)
    const middle = plus(x, linear(model, o, inLayer(layer, "self_attn.o_proj")))
    const middleNormal = rmsNorm(
      model,
      middle,
      weight(model, inLayer(layer, "post_attention_layernorm.weight"))
    )
    const gate = linear(model, middleNormal, inLayer(layer, "mlp.gate_proj"))
    const up = linear(model, middleNormal, inLayer(layer, "mlp.up_proj"))
    const activated = zip(gate, up, (g, u) => g * sigmoid(g) * u)
    layers.push({ x, normal, ...attention, middle, middleNormal, gate, up })
    x = plus(middle, linear(model, activated, inLayer(layer, "mlp.down_proj")))
  }
  const logits = timesTransposed(
    rmsNorm(model, x, weight(model, "model.norm.weight")),
    weight(model, headName(model))
  )
  return { layers, x, logits }
}

export const argmax = (logits: Vector): number =>
  logits.reduce((best, value, id) => (value > (logits[best] ?? Number.NaN) ? id : best), 0)

/** The objective of one label, and its gradient with respect to the logits. */
const objectiveOf = (logits: Vector, label: number, objective: Objective) => {
  const others = objective === "log-odds" ? logits.map((v, id) => (id === label ? -Infinity : v)) : logits
  const top = others.reduce((a, b) => Math.max(a, b), -Infinity)
  const powers = others.map((value) => Math.exp(value - top))
  const total = powers.reduce((a, b) => a + b, 0)
  return {
    loss: top + Math.log(total) - (logits[label] ?? Number.NaN),
    gradient: powers.map((power, id) => power / total - (id === label ? 1 : 0))
  }
}

export interface Counted {
  readonly tokens: ReadonlyArray<number>
  readonly mask: ReadonlyArray<boolean>
  readonly objective: Objective
}

const meanOf = ({ logits }: State, { tokens, mask, objective }: Counted) => {
  const labels = mask.flatMap((flag, i) => (flag && i > 0 ? [i] : []))
  const gradient = matrix(logits.rows, logits.columns)
  let loss = 0
  for (const i of labels) {
    const one = objectiveOf(row(logits, i - 1), tokens[i] ?? -1, objective)
    loss += one.loss / labels.length
    gradient.data.set(
      one.gradient.map((value) => value / labels.length),
      (i - 1) * logits.columns
    )
  }
  return { loss, gradient }
}

export const lossOf = (model: ReferenceModel, counted: Counted, options: ForwardOptions = {}): number =>
  meanOf(forward(model, counted.tokens, options), counted).loss

/** Cross-entropy and greedy prediction of tokens [from, …) after those before them. */
export const scoreOf = (
  model: ReferenceModel,
  tokens: ReadonlyArray<number>,
  from: number,
  options: ForwardOptions = {}
) => {
  const { logits } = forward(model, tokens, options)
  const labels = tokens.slice(from)
  return {
    loss: labels.map((label, i) => objectiveOf(row(logits, from + i - 1), label, "cross-entropy").loss),
    predicted: labels.map((_, i) => argmax(row(logits, from + i - 1)))
  }
}

/**
 * E by its definition: the row without `key`, renormalised, minus the row itself, times dL/dA. The others' mean is summed
 * without the key: subtracting it from the row's sums would lose every digit where A is near 1.
 */
const dropped = (a: Vector, dA: Vector, key: number): number => {
  let rest = 0
  let sum = 0
  for (let k = 0; k < a.length; k++) {
    if (k === key) continue
    rest += a[k] ?? 0
    sum += (a[k] ?? 0) * (dA[k] ?? 0)
  }
  return rest === 0 ? 0 : (a[key] ?? 0) * (sum / rest - (dA[key] ?? 0))
}

const layerBackward = (model: ReferenceModel, index: number, state: LayerState, dy: Matrix) => {
  const { config } = model
  const { headDim, queryHeads, kvHeads } = config
  const name = (part: string) => weight(model, inLayer(index, `${part}.weight`))
  const { x, q, k, v, a, middle, gate, up } = state

  const dActivated = times(dy, name("mlp.down_proj"))
  const slope = gate.data.map((g) => sigmoid(g) * (1 + g * (1 - sigmoid(g))))
  const dGate = zip(
    zip(dActivated, up, (d, u) => d * u),
    { ...gate, data: slope },
    (d, s) => d * s
  )
  const dUp = zip(dActivated, gate, (d, g) => d * g * sigmoid(g))
  const dMiddleNormal = plus(times(dGate, name("mlp.gate_proj")), times(dUp, name("mlp.up_proj")))
  const dMiddle = plus(dy, rmsNormBackward(model, middle, name("post_attention_layernorm"), dMiddleNormal))

  const dO = times(dMiddle, name("self_attn.o_proj"))
  const dQ = matrix(x.rows, queryHeads * headDim)
  const dK = matrix(x.rows, kvHeads * headDim)
  const dV = matrix(x.rows, kvHeads * headDim)
  const influence = a.map((attention, head) => {
    const own = <A>(of: ReadonlyArray<A>): A => {
      const found = of[head]
      if (found === undefined) throw new Error(`no head ${head}`)
      return found
    }
    const dHead = columns(dO, head * headDim, headDim)
    const dA = timesTransposed(dHead, own(v))
    const means = Array.from({ length: x.rows }, (_, i) =>
      row(dA, i).reduce((sum, value, j) => sum + value * at(attention, i, j), 0)
    )
    const dS = fill(x.rows, x.rows, (i, j) => at(attention, i, j) * (at(dA, i, j) - (means[i] ?? 0)))
    const scaled = { ...dS, data: dS.data.map((value) => value / Math.sqrt(headDim)) }
    const kv = Math.floor(head / (queryHeads / kvHeads)) * headDim
    addColumns(dQ, head * headDim, rotate(config, times(scaled, own(k)), -1))
    addColumns(dK, kv, rotate(config, times(transposed(scaled), own(q)), -1))
    addColumns(dV, kv, times(transposed(attention), dHead))
    return fill(x.rows, x.rows, (i, j) => dropped(row(attention, i), row(dA, i), j))
  })
  const dNormal = plus(
    plus(times(dQ, name("self_attn.q_proj")), times(dK, name("self_attn.k_proj"))),
    times(dV, name("self_attn.v_proj"))
  )
  return { influence, dx: plus(dMiddle, rmsNormBackward(model, x, name("input_layernorm"), dNormal)) }
}

/** The mean objective and E by layer and query head [tokens, tokens]. */
export const influenceOf = (
  model: ReferenceModel,
  counted: Counted
): {
  readonly loss: number
  readonly layers: ReadonlyArray<ReadonlyArray<Matrix>>
  readonly state: State
} => {
  const state = forward(model, counted.tokens)
  const { loss, gradient } = meanOf(state, counted)
  const norm = weight(model, "model.norm.weight")
  let dy = rmsNormBackward(model, state.x, norm, times(gradient, weight(model, headName(model))))
  const layers = state.layers
    .map((layer, index) => [layer, index] as const)
    .reverse()
    .map(([layer, index]) => {
      const back = layerBackward(model, index, layer, dy)
      dy = back.dx
      return back.influence
    })
    .reverse()
  return { loss, layers, state }
}

/** Sums of E, or of |E|, over blocks: row-major [query block, key block]. */
export const blockSums = (e: Matrix, block: number, sum: "signed" | "abs"): Vector => {
  const count = Math.ceil(e.rows / block)
  const sums = new Float64Array(count * count)
  for (let i = 0; i < e.rows; i++)
    for (let j = 0; j < e.columns; j++) {
      const index = Math.floor(i / block) * count + Math.floor(j / block)
      sums[index] = (sums[index] ?? 0) + (sum === "abs" ? Math.abs(at(e, i, j)) : at(e, i, j))
    }
  return sums
}
