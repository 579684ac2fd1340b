/**
 * Builds one ONNX graph: every method adds a node and returns the name of its output.
 */
import { type Attribute, ElementType, encodeModel, type Node, type Tensor, type ValueInfo } from "./Proto.js"

/** A value inside a graph. */
export type Value = string

/** A dimension: its size, or a name where it differs from run to run. */
export type Dimension = number | string

type Attributes = Readonly<Record<string, number | ReadonlyArray<number> | { readonly f: number }>>

const attribute = (name: string, value: Attributes[string]): Attribute => {
  if (typeof value === "number") return { name, i: value, type: 2 }
  return "f" in value ? { name, f: value.f, type: 1 } : { name, ints: value, type: 7 }
}

export class GraphBuilder {
  readonly #name: string
  readonly #nodes: Array<Node> = []
  readonly #constants = new Map<string, Tensor>()
  readonly #inputs: Array<ValueInfo> = []
  readonly #outputs: Array<ValueInfo> = []
  #next = 0

  constructor(name: string) {
    this.#name = name
  }

  input(name: string, shape: ReadonlyArray<Dimension>, type: keyof typeof ElementType = "float"): Value {
    const dim = shape.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }))
    this.#inputs.push({ name, type: { tensorType: { elemType: ElementType[type], shape: { dim } } } })
    return name
  }

  output(name: string, value: Value, type: keyof typeof ElementType = "float"): void {
    this.#nodes.push({ input: [value], output: [name], opType: "Identity", attribute: [], domain: "" })
    this.#outputs.push({ name, type: { tensorType: { elemType: ElementType[type] } } })
  }

  op(opType: string, input: ReadonlyArray<Value>, attributes: Attributes = {}, domain = ""): Value {
    const [output] = this.ops(opType, input, 1, attributes, domain)
    return output as Value
  }

  ops(
    opType: string,
    input: ReadonlyArray<Value>,
    outputs: number,
    attributes: Attributes = {},
    domain = ""
  ): ReadonlyArray<Value> {
    const output = Array.from({ length: outputs }, () => `v${this.#next++}`)
    const attributeList = Object.entries(attributes).map(([name, value]) => attribute(name, value))
    this.#nodes.push({ input, output, opType, attribute: attributeList, domain })
    return output
  }

  #constant(
    key: string,
    dims: ReadonlyArray<number>,
    dataType: number,
    data: Float32Array | BigInt64Array | Int32Array
  ): Value {
    if (!this.#constants.has(key)) {
      this.#constants.set(key, {
        name: key,
        dims,
        dataType,
        rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      })
    }
    return key
  }

  scalar(value: number): Value {
    return this.#constant(`f${value}`, [], ElementType.float, Float32Array.of(value))
  }

  /** An int64 vector, as shapes and axes are given. */
  ints(values: ReadonlyArray<number>): Value {
    return this.#constant(
      `i${values.join("_")}`,
      [values.length],
      ElementType.int64,
      BigInt64Array.from(values.map(BigInt))
    )
  }

  add = (a: Value, b: Value): Value => this.op("Add", [a, b])
  sub = (a: Value, b: Value): Value => this.op("Sub", [a, b])
  mul = (a: Value, b: Value): Value => this.op("Mul", [a, b])
  div = (a: Value, b: Value): Value => this.op("Div", [a, b])
  neg = (a: Value): Value => this.op("Neg", [a])
  where = (condition: Value, yes: Value, no: Value): Value => this.op("Where", [condition, yes, no])
  concat = (parts: ReadonlyArray<Value>, axis: number): Value => this.op("Concat", parts, { axis })
  reshape = (a: Value, shape: ReadonlyArray<number>): Value => this.op("Reshape", [a, this.ints(shape)])
  transpose = (a: Value, perm: ReadonlyArray<number>): Value => this.op("Transpose", [a], { perm })
  softmax = (a: Value): Value => this.op("Softmax", [a], { axis: -1 })
  sum = (a: Value, axes: ReadonlyArray<number>, keepdims = true): Value =>
    this.op("ReduceSum", [a, this.ints(axes)], { keepdims: keepdims ? 1 : 0 })
  mean = (a: Value, axes: ReadonlyArray<number>): Value => this.op("ReduceMean", [a], { axes, keepdims: 1 })

  /** alpha · op(a) op(b), where op transposes the last two axes where asked. */
  matmul(a: Value, b: Value, options: { transA?: boolean; transB?: boolean; alpha?: number } = {}): Value {
    const { transA = false, transB = false, alpha = 1 } = options
    if (!transA && !transB && alpha === 1) return this.op("MatMul", [a, b])
    const attributes = { transA: Number(transA), transB: Number(transB), alpha: { f: alpha } }
    return this.op("FusedMatMul", [a, b], attributes, "com.microsoft")
  }

  /** Nodes that an output needs. A backward pass leaves parts of its forward pass unused, and ONNX Runtime runs what it is given. */
  #needed(): ReadonlyArray<Node> {
    const wanted = new Set(this.#outputs.map(({ name }) => name))
    const needed = this.#nodes.toReversed().filter(({ input, output }) => {
      const used = output.some((name) => wanted.has(name))
      if (used) for (const name of input) wanted.add(name)
      return used
    })
    return needed.toReversed()
  }

  bytes(): Uint8Array {
    return encodeModel({
      name: this.#name,
      node: this.#needed(),
      initializer: [...this.#constants.values()],
      input: this.#inputs,
      output: this.#outputs
    })
  }
}
