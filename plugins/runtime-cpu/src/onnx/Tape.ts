/**
 * Reverse-mode differentiation while a graph is built. Only activations have gradients: weights are frozen.
 */
import type { GraphBuilder, Value } from "./GraphBuilder.js"

interface Step {
  readonly output: Value
  readonly inputs: ReadonlyArray<Value>
  readonly backward: (gradient: Value) => ReadonlyArray<Value>
}

export class Tape {
  readonly #steps: Array<Step> = []

  constructor(readonly graph: GraphBuilder) {}

  /** Any other step: `backward` makes the inputs' gradients of the output's. */
  record(output: Value, inputs: ReadonlyArray<Value>, backward: Step["backward"]): Value {
    this.#steps.push({ output, inputs, backward })
    return output
  }

  /** x Wᵀ + bias. */
  linear(x: Value, weight: Value, bias?: Value): Value {
    const g = this.graph
    const product = g.matmul(x, weight, { transB: true })
    return this.record(bias === undefined ? product : g.add(product, bias), [x], (d) => [g.matmul(d, weight)])
  }

  add(a: Value, b: Value): Value {
    return this.record(this.graph.add(a, b), [a, b], (d) => [d, d])
  }

  reshape(x: Value, to: ReadonlyArray<number>, from: ReadonlyArray<number>): Value {
    return this.record(this.graph.reshape(x, to), [x], (d) => [this.graph.reshape(d, from)])
  }

  transpose(x: Value, perm: ReadonlyArray<number>): Value {
    const inverse = perm.map((_, i) => perm.indexOf(i))
    return this.record(this.graph.transpose(x, perm), [x], (d) => [this.graph.transpose(d, inverse)])
  }

  /** Some rows of a matrix, each at most once. @param rows indices [chosen, 1], int64 */
  rows(x: Value, rows: Value): Value {
    const g = this.graph
    return this.record(g.op("GatherND", [x, rows]), [x], (d) => [
      g.op("ScatterND", [g.op("ConstantOfShape", [g.op("Shape", [x])]), rows, d])
    ])
  }

  /** Root-mean-square normalisation over the last axis. */
  rmsNorm(x: Value, weight: Value, epsilon: number): Value {
    const g = this.graph
    const attributes = { axis: -1, epsilon: { f: epsilon }, stash_type: 1 }
    const [y, inverse] = g.ops("SimplifiedLayerNormalization", [x, weight], 2, attributes) as [Value, Value]
    return this.record(y, [x], (d) => {
      const normal = g.mul(x, inverse)
      const dn = g.mul(d, weight)
      return [g.mul(inverse, g.sub(dn, g.mul(normal, g.mean(g.mul(dn, normal), [-1]))))]
    })
  }

  /** Rotary embedding, halves rotated as Hugging Face's models do; `cos` and `sin` broadcast over heads. */
  rope(x: Value, cos: Value, sin: Value): Value {
    const g = this.graph
    const halves = (y: Value) => g.ops("Split", [y], 2, { axis: -1 }) as readonly [Value, Value]
    const [first, second] = halves(x)
    const rotated = g.concat([g.neg(second), first], -1)
    return this.record(g.add(g.mul(x, cos), g.mul(rotated, sin)), [x], (d) => {
      const [a, b] = halves(g.mul(d, sin))
      return [g.add(g.mul(d, cos), g.concat([b, g.neg(a)], -1))]
    })
  }

  /** silu(gate) · up. */
  swiGlu(gate: Value, up: Value): Value {
    const g = this.graph
    const sigmoid = g.op("Sigmoid", [gate])
    const silu = g.mul(gate, sigmoid)
    return this.record(g.mul(silu, up), [gate, up], (d) => {
      const slope = g.add(sigmoid, g.mul(silu, g.sub(g.scalar(1), sigmoid)))
      return [g.mul(g.mul(d, up), slope), g.mul(d, silu)]
    })
  }

  /** Gradients of the wanted values, given those of some outputs. */
  gradients(
    seeds: ReadonlyArray<readonly [of: Value, gradient: Value]>,
    wanted: ReadonlyArray<Value>
  ): ReadonlyArray<Value> {
    const known = new Map<Value, Value>()
    const accumulate = (value: Value, gradient: Value) => {
      const before = known.get(value)
      known.set(value, before === undefined ? gradient : this.graph.add(before, gradient))
    }
    for (const [value, gradient] of seeds) accumulate(value, gradient)
    for (const step of this.#steps.toReversed()) {
      const gradient = known.get(step.output)
      if (gradient === undefined) continue
      step.backward(gradient).forEach((d, i) => accumulate(step.inputs[i] as Value, d))
    }
    return wanted.map((value) => {
      const gradient = known.get(value)
      if (gradient === undefined) throw new Error(`nothing differentiable reaches ${value}`)
      return gradient
    })
  }
}
