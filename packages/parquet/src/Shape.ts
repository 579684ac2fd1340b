/**
 * How a column of a port lies in a Parquet file: its levels of lists, and the leaf that holds the values.
 */
import * as Arrow from "apache-arrow"
import type { SchemaTree } from "hyparquet"
import { isList, typeName } from "./ArrowTypes.js"
import { type ParquetError, parquetError, type Place } from "./Errors.js"
import { arrowTypeOf, nameOf, type Physical, physicalOf } from "./Physical.js"

interface Common {
  readonly nullable: boolean
  /** A value or list is here where the definition level is at least this. */
  readonly present: number
}

export interface LeafShape extends Common {
  readonly kind: "leaf"
  readonly type: Arrow.DataType
  readonly physical: Physical
}

export interface ListShape extends Common {
  readonly kind: "list"
  readonly type: Arrow.List | Arrow.FixedSizeList
  /** An element is here where the definition level is at least this. */
  readonly element: number
  /** The repetition level of its elements. */
  readonly repetition: number
  readonly item: Shape
}

export type Shape = LeafShape | ListShape

/** A column to read: its shape, and the path of its leaf from the root of the schema. */
export interface Column {
  readonly field: Arrow.Field
  readonly shape: Shape
  readonly leaf: LeafShape
  readonly path: ReadonlyArray<SchemaTree>
}

/** The repeated node of a list, and the node of its items (the same in the old two-level form). */
const listNodes = (
  node: SchemaTree
): { readonly repeated: SchemaTree; readonly item: SchemaTree } | undefined => {
  if (node.element.repetition_type === "REPEATED") {
    return node.children.length === 0 ? { repeated: node, item: node } : undefined
  }
  const [repeated, ...more] = node.children
  if (node.element.converted_type !== "LIST" || repeated === undefined || more.length > 0) return undefined
  if (repeated.element.repetition_type !== "REPEATED") return undefined
  if (repeated.children.length === 0) return { repeated, item: repeated }
  const [item, ...others] = repeated.children
  const { name } = repeated.element
  // Such a group is the item itself, a struct of one field.
  const isStruct = name === "array" || name === `${node.element.name}_tuple`
  return item === undefined || others.length > 0 || isStruct ? undefined : { repeated, item }
}

/** A file's node in words, for messages. */
const describe = (node: SchemaTree): string => {
  const list = listNodes(node)
  if (list !== undefined) {
    return `list of ${list.item === node ? nameOf(physicalOf(node.element)) : describe(list.item)}`
  }
  if (node.children.length === 0) return nameOf(physicalOf(node.element))
  return node.element.converted_type === "MAP" ? "map" : "struct"
}

interface Levels {
  readonly definition: number
  readonly repetition: number
}

interface Found {
  readonly shape: Shape
  readonly leaf: LeafShape
  readonly path: ReadonlyArray<SchemaTree>
}

/** @param levels those at the node, its own optionality included */
const find = (
  type: Arrow.DataType,
  nullable: boolean,
  node: SchemaTree,
  levels: Levels,
  inRepeated = false
): Found | undefined => {
  if (isList(type)) {
    const list = inRepeated ? undefined : listNodes(node)
    const [field] = type.children
    if (list === undefined || field === undefined) return undefined
    const { repeated, item } = list
    const element = levels.definition + 1
    const repetition = levels.repetition + 1
    const optional = item !== repeated && item.element.repetition_type === "OPTIONAL"
    const inner = find(
      field.type,
      field.nullable,
      item,
      { definition: element + (optional ? 1 : 0), repetition },
      item === repeated
    )
    if (inner === undefined) return undefined
    const path = [node, ...(repeated === node ? [] : [repeated]), ...(item === repeated ? [] : inner.path)]
    const present = levels.definition
    return {
      shape: { kind: "list", type, nullable, present, element, repetition, item: inner.shape },
      leaf: inner.leaf,
      path
    }
  }
  const repeated = node.element.repetition_type === "REPEATED" && !inRepeated
  if (node.children.length > 0 || repeated) return undefined
  const leaf: LeafShape = {
    kind: "leaf",
    type,
    nullable,
    present: levels.definition,
    physical: physicalOf(node.element)
  }
  return { shape: leaf, leaf, path: [node] }
}

const start = (node: SchemaTree): Levels => ({
  definition: node.element.repetition_type === "OPTIONAL" ? 1 : 0,
  repetition: 0
})

/** Finds the columns of a port in a file. Throws ParquetError where one is absent or of another shape. */
export const columnsOf = (schema: SchemaTree, wanted: Arrow.Schema, place: Place): ReadonlyArray<Column> =>
  wanted.fields.map((field) => {
    const nodes = schema.children.filter(({ element }) => element.name === field.name)
    const [node] = nodes
    if (node === undefined) {
      const there = schema.children.map(({ element }) => element.name).join(", ")
      throw parquetError("SchemaMismatch", place, `has no column ${field.name}; it has ${there || "none"}`)
    }
    const at = { ...place, column: field.name }
    if (nodes.length > 1)
      throw parquetError("Unsupported", at, "is there more than once; give each its own name")
    const found = find(field.type, field.nullable, node, start(node))
    if (found === undefined) throw mismatch(at, describe(node), field.type)
    return { field, ...found, path: [schema, ...found.path] }
  })

/** The error of a file's type that is not the one asked for. */
export const mismatch = (place: Place, found: string, wanted: Arrow.DataType): ParquetError =>
  parquetError(
    "SchemaMismatch",
    place,
    `is ${found}, not ${typeName(wanted)}; cast it where the file is made`
  )

const declareNode = (node: SchemaTree, place: Place, inRepeated = false): Arrow.DataType => {
  const list = inRepeated ? undefined : listNodes(node)
  if (list !== undefined) {
    const { item, repeated } = list
    const type = declareNode(item, place, item === repeated)
    return new Arrow.List(new Arrow.Field("item", type, item.element.repetition_type === "OPTIONAL"))
  }
  const type = node.children.length > 0 ? undefined : arrowTypeOf(physicalOf(node.element))
  if (type === undefined) {
    const hint = "no table can hold it; cast it where the file is made, or leave the column out"
    throw parquetError("Unsupported", place, `is ${describe(node)}; ${hint}`)
  }
  return type
}

/** The Arrow field that holds every value of a column of a file. Throws ParquetError where there is none. */
export const declaredField = (node: SchemaTree, file: string): Arrow.Field => {
  const { name, repetition_type } = node.element
  return new Arrow.Field(name, declareNode(node, { file, column: name }), repetition_type === "OPTIONAL")
}
