/**
 * From a pipeline and options to nodes with decoded parameters: everything that can be wrong before anything runs.
 */
import { canonicalJson, edges, Graph, GraphError, type Json, type Pipeline } from "@tessera/core"
import { Either, ParseResult, Schema, SchemaAST } from "effect"
import { distance } from "fastest-levenshtein"
import type { RunOptions } from "./Engine.js"

export interface PreparedNode {
  readonly name: string
  readonly node: Graph.Node
  /** What the stage gets. */
  readonly params: unknown
  /** What the key gets: encoded, defaults applied. */
  readonly encoded: Json
}

export interface Prepared {
  readonly pipeline: string
  /** Encoded pipeline parameters, defaults applied. */
  readonly params: unknown
  /** Producers before consumers. */
  readonly nodes: ReadonlyArray<PreparedNode>
  readonly byNode: ReadonlyMap<Graph.Node, PreparedNode>
  readonly targets: Readonly<Record<string, Graph.Edge>>
}

/** `; did you mean …?`, or what there is. */
export const suggestion = (wrong: string, known: ReadonlyArray<string>): string => {
  const near = known
    .map((name) => ({ name, far: distance(wrong.toLowerCase(), name.toLowerCase()) }))
    .filter(({ far, name }) => far <= Math.max(2, Math.ceil(Math.max(wrong.length, name.length) / 3)))
    .sort((a, b) => a.far - b.far)
    .slice(0, 3)
    .map(({ name }) => name)
  if (near.length > 0) return `; did you mean ${near.join(" or ")}?`
  return known.length === 0 ? "; there are none" : `; there are ${known.join(", ")}`
}

/** The names a struct of parameters can have, or undefined where it is no struct. */
const parameterNames = (schema: Schema.Schema.AnyNoContext): ReadonlyArray<string> | undefined => {
  const ast = SchemaAST.encodedAST(schema.ast)
  return SchemaAST.isTypeLiteral(ast) && ast.indexSignatures.length === 0
    ? ast.propertySignatures.map(({ name }) => String(name))
    : undefined
}

const checkNames = (
  given: Readonly<Record<string, unknown>>,
  schema: Schema.Schema.AnyNoContext,
  where: string
): Either.Either<void, GraphError> => {
  const known = parameterNames(schema)
  const unknown = known === undefined ? undefined : Object.keys(given).find((name) => !known.includes(name))
  return unknown === undefined || known === undefined
    ? Either.void
    : Either.left(
        new GraphError({
          reason: "UnknownParameter",
          where,
          detail: `there is no parameter ${unknown}${suggestion(unknown, known)}`
        })
      )
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const prepareNode = (
  { name, node }: Graph.NamedNode,
  overrides: Readonly<Record<string, unknown>>
): Either.Either<PreparedNode, GraphError> =>
  Either.gen(function* () {
    const where = name === node.stage.id ? `stage ${name}` : `stage ${name} (${node.stage.id})`
    const schema = node.stage.spec.params
    yield* checkNames(overrides, schema, where)
    const written =
      Object.keys(overrides).length === 0
        ? node.params
        : { ...(isRecord(node.params) ? node.params : {}), ...overrides }
    const invalid = (error: ParseResult.ParseError) =>
      new GraphError({
        reason: "InvalidParameter",
        where,
        detail: ParseResult.TreeFormatter.formatErrorSync(error)
      })
    const decode = (value: unknown): Either.Either<unknown, GraphError> =>
      Either.mapLeft(
        Schema.decodeUnknownEither(schema, { onExcessProperty: "error", errors: "all" })(value),
        invalid
      )
    const encoded: unknown = yield* Either.mapLeft(
      Schema.encodeUnknownEither(schema)(yield* decode(written)),
      invalid
    )
    const manifest = JSON.parse(yield* canonicalJson(encoded, where)) as Json
    // What an encoding loses must not reach the stage: its result would depend on something that is in no key.
    return { name, node, params: yield* decode(manifest), encoded: manifest }
  })

const overridesOf = (
  named: ReadonlyArray<Graph.NamedNode>,
  set: NonNullable<RunOptions["set"]>
): Either.Either<ReadonlyMap<Graph.Node, Readonly<Record<string, unknown>>>, GraphError> => {
  const result = new Map<Graph.Node, Readonly<Record<string, unknown>>>()
  const names = new Set(named.map(({ name }) => name))
  // Stage ids first: an override of one node wins over that of all nodes of its stage.
  const entries = Object.entries(set).sort(([a], [b]) => Number(names.has(a)) - Number(names.has(b)))
  for (const [target, values] of entries) {
    const meant = named.filter(({ name, node }) =>
      names.has(target) ? name === target : node.stage.id === target
    )
    if (meant.length === 0) {
      const known = [...new Set(named.flatMap(({ name, node }) => [name, node.stage.id]))]
      return Either.left(
        new GraphError({
          reason: "UnknownNode",
          where: "set",
          detail: `there is no node or stage ${target}${suggestion(target, known)}`
        })
      )
    }
    for (const { node } of meant) result.set(node, { ...result.get(node), ...values })
  }
  return Either.right(result)
}

const duplicate = (named: ReadonlyArray<Graph.NamedNode>): string | undefined => {
  const seen = new Set<string>()
  for (const { name } of named) {
    if (seen.has(name)) return name
    seen.add(name)
  }
  return undefined
}

export const prepare = (pipeline: Pipeline.Any, options: RunOptions): Either.Either<Prepared, GraphError> =>
  Either.gen(function* () {
    const where = `pipeline ${pipeline.name}`
    yield* checkNames(options.params ?? {}, pipeline.params, where)
    const built = yield* yield* Either.try({
      try: () => pipeline.build(options.params ?? {}),
      catch: (cause) =>
        new GraphError({
          reason: "InvalidParameter",
          where,
          detail: `its graph could not be built: ${cause instanceof Error ? cause.message : String(cause)}`
        })
    })
    const all = edges(built)
    // Named before targets are chosen, so that a node has one name whatever is computed.
    const named = Graph.nodes(all)
    const twice = duplicate(named)
    if (twice !== undefined) {
      return yield* Either.left(
        new GraphError({
          reason: "DuplicateName",
          where,
          detail: `two nodes are named ${twice}; give one another name`
        })
      )
    }
    const targets: Record<string, Graph.Edge> = {}
    for (const name of options.targets ?? Object.keys(all)) {
      const edge = all[name]
      if (edge === undefined) {
        return yield* Either.left(
          new GraphError({
            reason: "UnknownNode",
            where,
            detail: `there is no target ${name}${suggestion(name, Object.keys(all))}`
          })
        )
      }
      targets[name] = edge
    }
    const overrides = yield* overridesOf(named, options.set ?? {})
    const needed = new Set(Graph.nodes(targets).map(({ node }) => node))
    const nodes: Array<PreparedNode> = []
    for (const one of named) {
      if (needed.has(one.node)) nodes.push(yield* prepareNode(one, overrides.get(one.node) ?? {}))
    }
    const params = Either.flatMap(
      Schema.decodeUnknownEither(pipeline.params)(options.params ?? {}),
      (decoded) => Schema.encodeUnknownEither(pipeline.params)(decoded)
    )
    return {
      pipeline: pipeline.name,
      params: Either.getOrElse(params, () => options.params ?? {}),
      nodes,
      byNode: new Map(nodes.map((node) => [node.node, node])),
      targets
    }
  })
