/**
 * `--param k=v` and `--set node.param=v`: from text to values. Whether names and values are right is for the engine to
 * say; the schemas are read here only to tell the text `123` from the number.
 */
import { type Graph, type Pipeline } from "@tessera/core"
import { Effect, Either, Predicate, Schema, SchemaAST } from "effect"
import { CliError } from "./Failure.js"

type Values = Readonly<Record<string, unknown>>

const property = (type: SchemaAST.AST | undefined, name: string): SchemaAST.AST | undefined =>
  type !== undefined && SchemaAST.isTypeLiteral(type)
    ? type.propertySignatures.find((signature) => signature.name === name)?.type
    : undefined

const encoded = (schema: Schema.Schema.AnyNoContext): SchemaAST.AST => SchemaAST.encodedAST(schema.ast)

/** JSON where the text is JSON, unless the schema takes the text and not the JSON. */
const parseValue = (text: string, type: SchemaAST.AST | undefined): unknown => {
  const json = Either.try((): unknown => JSON.parse(text))
  if (Either.isLeft(json)) return text
  if (type === undefined) return json.right
  const accepts = Schema.is(Schema.make(type))
  return !accepts(json.right) && accepts(text) ? text : json.right
}

const wrong = (flag: string, assignment: string, expected: string) =>
  new CliError({ reason: "Parameter", where: `--${flag} ${assignment}`, detail: `expected ${expected}` })

const split = (flag: string, assignment: string, expected: string) => {
  const at = assignment.indexOf("=")
  return at > 0
    ? Effect.succeed([assignment.slice(0, at), assignment.slice(at + 1)] as const)
    : Effect.fail(wrong(flag, assignment, expected))
}

export const params = (
  pipeline: Pipeline.Any,
  assignments: ReadonlyArray<string>
): Effect.Effect<Values, CliError> =>
  Effect.gen(function* () {
    const values: Record<string, unknown> = {}
    for (const assignment of assignments) {
      const [name, text] = yield* split("param", assignment, "name=value")
      values[name] = parseValue(text, property(encoded(pipeline.params), name))
    }
    return values
  })

/** A copy of `base` with the value at `path` replaced. */
const setAt = (base: unknown, path: ReadonlyArray<string>, value: unknown): unknown => {
  const [head, ...rest] = path
  if (head === undefined) return value
  const object = Predicate.isReadonlyRecord(base) ? base : {}
  return { ...object, [head]: setAt(object[head], rest, value) }
}

/**
 * The node is the longest node name (or stage id) that starts the key; what follows is a path within its parameters, so
 * that one field of a nested parameter can be set and its siblings stay.
 */
export const set = (
  nodes: ReadonlyArray<Graph.NamedNode>,
  assignments: ReadonlyArray<string>
): Effect.Effect<Readonly<Record<string, Values>>, CliError> =>
  Effect.gen(function* () {
    const byName = new Map([
      ...nodes.map(({ node }) => [node.stage.id, node] as const),
      ...nodes.map(({ name, node }) => [name, node] as const)
    ])
    const names = [...byName.keys()].sort((a, b) => b.length - a.length)
    const values: Record<string, Values> = {}
    for (const assignment of assignments) {
      const [key, text] = yield* split("set", assignment, "node.param=value")
      const name = names.find((name) => key.startsWith(`${name}.`)) ?? key.replace(/\..*$/, "")
      const [first = "", ...rest] = key.slice(name.length + 1).split(".")
      if (first === "") return yield* wrong("set", assignment, "node.param=value")
      const node = byName.get(name)
      const before = { ...(Predicate.isReadonlyRecord(node?.params) ? node.params : {}), ...values[name] }
      const type = [first, ...rest].reduce(
        property,
        node === undefined ? undefined : encoded(node.stage.spec.params)
      )
      values[name] = { ...values[name], [first]: setAt(before[first], rest, parseValue(text, type)) }
    }
    return values
  })
