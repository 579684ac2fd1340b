/**
 * The key of an execution: the digest of a stored document that names everything that can change its result.
 */
import { createHash } from "node:crypto"
import canonicalize from "canonicalize"
import { Either } from "effect"
import { GraphError } from "./Errors.js"

export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

export interface Manifest {
  /**
   * Version of keys. The one place to change all of them on purpose: where what goes into a manifest, or how it is
   * digested, changes meaning, count it up here and in `key`'s domain text.
   */
  readonly format: 1
  readonly stage: string
  readonly version: string
  /** Digest of the code: the stage's module graph, and those its services named. */
  readonly code: string
  /** Schema-encoded, defaults applied. */
  readonly params: Json
  /** Content digests of the inputs, with the contract they were produced under. */
  readonly inputs: { readonly [port: string]: readonly [contract: string, digest: string] }
  /** Fingerprints of the output ports. */
  readonly outputs: { readonly [port: string]: string }
  /** What the services said of themselves. */
  readonly environment: { readonly [fact: string]: string }
}

export const sha256 = (bytes: string | Uint8Array): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`

/** What JSON would change or drop silently: where, from the value's own parts outwards, and why. */
interface Problem {
  readonly path: ReadonlyArray<string>
  readonly detail: string
}

/** Deeper values are a mistake, or would exhaust the call stack. */
const DEEPEST = 500

const here = (detail: string): Problem => ({ path: [], detail })

const LONE_SURROGATE = /\p{Surrogate}/u

const ofText = (text: string): Problem | undefined =>
  LONE_SURROGATE.test(text)
    ? here("has a lone surrogate (half of a character), which no UTF-8 file can hold")
    : undefined

/** The properties that an object says it has, or what of them JSON would not see or might see otherwise. */
const ofObject = (value: object, around: ReadonlyArray<object>): Problem | undefined => {
  if (around.includes(value)) return here("refers to itself")
  if (around.length >= DEEPEST) return here(`is nested deeper than ${DEEPEST} levels`)
  const isArray = Array.isArray(value)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== (isArray ? Array.prototype : Object.prototype) && (isArray || prototype !== null))
    return here("is not plain data; give its schema an encoding to JSON")
  if (Object.getOwnPropertySymbols(value).length > 0)
    return here("has a property named by a symbol, which JSON drops")
  const within = [...around, value]
  const names = Object.getOwnPropertyNames(value)
  // Names of indices come first, in order.
  const last = isArray ? value.length - 1 : -1
  if (isArray && (names.length !== last + 2 || (last >= 0 && names[last] !== String(last))))
    return here("is an array with holes or with properties of its own, which JSON changes")
  for (const name of names) {
    if (isArray && name === "length") continue
    const property = Object.getOwnPropertyDescriptor(value, name)
    const problem =
      property === undefined || !("value" in property)
        ? here("is computed each time it is read; give a plain value")
        : property.enumerable !== true
          ? here("is not enumerable, so JSON drops it")
          : ((isArray ? undefined : ofText(name)) ?? unencodable(property.value, within))
    if (problem !== undefined) return { ...problem, path: [name, ...problem.path] }
  }
  return undefined
}

const unencodable = (value: unknown, around: ReadonlyArray<object>): Problem | undefined => {
  switch (typeof value) {
    case "boolean":
      return undefined
    case "string":
      return ofText(value)
    case "number":
      return Number.isFinite(value) ? undefined : here(`is ${value}, which JSON cannot hold`)
    case "object":
      return value === null ? undefined : ofObject(value, around)
    default:
      return here(`is of type ${typeof value}, which JSON cannot hold`)
  }
}

const shown = (path: ReadonlyArray<string>): string =>
  ["value", ...(path.length > 20 ? [...path.slice(0, 20), "…"] : path)].join(".")

/**
 * Canonical JSON (RFC 8785). Anything that JSON would drop, round or rename is an error; -0 is 0, as the RFC says.
 */
export const canonicalJson = (value: unknown, where: string): Either.Either<string, GraphError> => {
  const problem = unencodable(value, [])
  const text = problem === undefined ? canonicalize(value) : undefined
  if (text !== undefined) return Either.right(text)
  const { path, detail } = problem ?? here("is undefined")
  return Either.left(new GraphError({ reason: "Unencodable", where, detail: `${shown(path)} ${detail}` }))
}

/** The key of a manifest. */
export const key = (manifest: Manifest): Either.Either<string, GraphError> =>
  Either.map(canonicalJson(manifest, `stage ${manifest.stage}`), (text) =>
    sha256(`tessera.action.v1\0${text}`)
  )
