/**
 * The part of ONNX's protobuf messages that our graphs use (onnx.proto3, IR version 8).
 */
import protobuf from "protobufjs"

const root = protobuf.Root.fromJSON({
  nested: {
    Model: {
      fields: {
        irVersion: { type: "int64", id: 1 },
        producerName: { type: "string", id: 2 },
        graph: { type: "Graph", id: 7 },
        opsetImport: { rule: "repeated", type: "OperatorSet", id: 8 }
      }
    },
    OperatorSet: { fields: { domain: { type: "string", id: 1 }, version: { type: "int64", id: 2 } } },
    Graph: {
      fields: {
        node: { rule: "repeated", type: "Node", id: 1 },
        name: { type: "string", id: 2 },
        initializer: { rule: "repeated", type: "Tensor", id: 5 },
        input: { rule: "repeated", type: "ValueInfo", id: 11 },
        output: { rule: "repeated", type: "ValueInfo", id: 12 }
      }
    },
    Node: {
      fields: {
        input: { rule: "repeated", type: "string", id: 1 },
        output: { rule: "repeated", type: "string", id: 2 },
        opType: { type: "string", id: 4 },
        attribute: { rule: "repeated", type: "Attribute", id: 5 },
        domain: { type: "string", id: 7 }
      }
    },
    Attribute: {
      fields: {
        name: { type: "string", id: 1 },
        f: { type: "float", id: 2 },
        i: { type: "int64", id: 3 },
        ints: { rule: "repeated", type: "int64", id: 8 },
        type: { type: "int32", id: 20 }
      }
    },
    Tensor: {
      fields: {
        dims: { rule: "repeated", type: "int64", id: 1 },
        dataType: { type: "int32", id: 2 },
        name: { type: "string", id: 8 },
        rawData: { type: "bytes", id: 9 }
      }
    },
    ValueInfo: { fields: { name: { type: "string", id: 1 }, type: { type: "Type", id: 2 } } },
    Type: { fields: { tensorType: { type: "TensorType", id: 1 } } },
    TensorType: { fields: { elemType: { type: "int32", id: 1 }, shape: { type: "Shape", id: 2 } } },
    Shape: { fields: { dim: { rule: "repeated", type: "Dimension", id: 1 } } },
    Dimension: { fields: { dimValue: { type: "int64", id: 1 }, dimParam: { type: "string", id: 2 } } }
  }
})

const Model = root.lookupType("Model")

/** ONNX's element type numbers. */
export const ElementType = { float: 1, int32: 6, int64: 7, bool: 9 } as const

export interface Attribute {
  readonly name: string
  readonly f?: number
  readonly i?: number
  readonly ints?: ReadonlyArray<number>
  readonly type: number
}

export interface Node {
  readonly input: ReadonlyArray<string>
  readonly output: ReadonlyArray<string>
  readonly opType: string
  readonly attribute: ReadonlyArray<Attribute>
  readonly domain: string
}

export interface Tensor {
  readonly dims: ReadonlyArray<number>
  readonly dataType: number
  readonly name: string
  readonly rawData: Uint8Array
}

export interface ValueInfo {
  readonly name: string
  readonly type: {
    readonly tensorType: {
      readonly elemType: number
      readonly shape?: {
        readonly dim: ReadonlyArray<{ readonly dimValue?: number; readonly dimParam?: string }>
      }
    }
  }
}

/** Serialises a graph as an ONNX model file. */
export const encodeModel = (graph: {
  readonly name: string
  readonly node: ReadonlyArray<Node>
  readonly initializer: ReadonlyArray<Tensor>
  readonly input: ReadonlyArray<ValueInfo>
  readonly output: ReadonlyArray<ValueInfo>
}): Uint8Array =>
  Model.encode(
    Model.fromObject({
      irVersion: 8,
      producerName: "tessera",
      graph,
      opsetImport: [
        { domain: "", version: 17 },
        { domain: "com.microsoft", version: 1 }
      ]
    })
  ).finish()
