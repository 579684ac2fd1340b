/**
 * What a schema's encoded side looks like, as text: equal for schemas that take the same JSON, whatever they are called.
 */
import { Option, SchemaAST as AST } from "effect"

const name = (key: PropertyKey): string => (typeof key === "string" ? JSON.stringify(key) : String(key))

/** Equal JSON-Schema fragments give equal text. */
const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, child]) => [key, sorted(child)])
        )
      : typeof value === "bigint"
        ? `${value}n`
        : value

/** A filter's own predicate cannot be compared: its JSON Schema says what it means, or else its name. */
const filter = (ast: AST.Refinement): string => {
  const meaning = Option.getOrUndefined(AST.getJSONSchemaAnnotation(ast))
  if (meaning !== undefined && Object.keys(meaning).length > 0) return JSON.stringify(sorted(meaning))
  const id = Option.getOrUndefined(AST.getSchemaIdAnnotation(ast))
  return id === undefined ? "filter" : typeof id === "symbol" ? (id.description ?? "filter") : id
}

/**
 * The structure of a schema's encoded side, with the filters over it. Names, titles and descriptions are left out: a
 * schema that is only renamed or described anew has the same shape, one that changed behind its
 * identifier has another.
 */
export const shape = (root: AST.AST): string => {
  // A recursive schema refers back to where it began.
  const open = new Map<AST.AST, number>()
  const print = (ast: AST.AST): string => {
    switch (ast._tag) {
      case "Transformation":
        return print(ast.from)
      case "Refinement":
        return `${print(ast.from)}&${filter(ast)}`
      case "Suspend": {
        const inner = ast.f()
        const known = open.get(inner)
        if (known !== undefined) return `#${known}`
        open.set(inner, open.size)
        return `#${open.size - 1}=${print(inner)}`
      }
      case "TypeLiteral": {
        const properties = ast.propertySignatures
          .map(({ name: key, type, isOptional }) => `${name(key)}${isOptional ? "?" : ""}:${print(type)}`)
          .sort()
        const indexes = ast.indexSignatures.map(
          ({ parameter, type }) => `[${print(parameter)}]:${print(type)}`
        )
        return `{${[...properties, ...indexes].join(",")}}`
      }
      case "TupleType": {
        const elements = ast.elements.map(({ type, isOptional }) => `${print(type)}${isOptional ? "?" : ""}`)
        const rest = ast.rest.map(({ type }, i) => `${i === 0 ? "..." : ""}${print(type)}`)
        return `[${[...elements, ...rest].join(",")}]`
      }
      case "Union":
        return `(${ast.types.map(print).join("|")})`
      case "Literal":
        return typeof ast.literal === "bigint" ? `${ast.literal}n` : JSON.stringify(ast.literal)
      case "Enums":
        return `(${ast.enums.map(([, value]) => JSON.stringify(value)).join("|")})`
      case "TemplateLiteral":
        return `\`${JSON.stringify(ast.head)}${ast.spans
          .map(({ type, literal }) => `\${${print(type)}}${JSON.stringify(literal)}`)
          .join("")}\``
      case "UniqueSymbol":
        return String(ast.symbol)
      case "Declaration": {
        const id = Option.getOrElse(AST.getIdentifierAnnotation(ast), () => "declaration")
        return `${id}<${ast.typeParameters.map(print).join(",")}>`
      }
      default:
        return ast._tag.replace(/Keyword$/, "").toLowerCase()
    }
  }
  return print(root)
}
