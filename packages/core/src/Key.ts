/**
 * The key of an execution: the digest of a stored document that names everything that can change its result.
 */
import { createHash } from "node:crypto"
import canonicalize from "canonicalize"
import { Either } from "effect"
import { GraphError } from "./Errors.js"

export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

export interface Manifest {
  /** Version of this format; changing it changes every key on purpose. */
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

/** A value that JSON would change silently, or undefined. */
const unencodable = (value: unknown, path: string): string | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : `${path} is ${value}, which JSON cannot hold`
    case "object": {
      if (value === null) return undefined
      if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) {
        return `${path} is not plain data; give its schema an encoding to JSON`
      }
      for (const [key, child] of Object.entries(value)) {
        const problem = unencodable(child, `${path}.${key}`)
        if (problem !== undefined) return problem
      }
      return undefined
    }
    default:
      return `${path} is of type ${typeof value}, which JSON cannot hold`
  }
}

/** Canonical JSON (RFC 8785). Anything JSON would drop or round is an error. */
export const canonicalJson = (value: unknown, where: string): Either.Either<string, GraphError> => {
  const problem = unencodable(value, "value")
  const text = problem === undefined ? canonicalize(value) : undefined
  return text === undefined
    ? Either.left(new GraphError({ reason: "Unencodable", where, detail: problem ?? "value is undefined" }))
    : Either.right(text)
}

/** The key of a manifest. */
export const key = (manifest: Manifest): Either.Either<string, GraphError> =>
  Either.map(canonicalJson(manifest, `stage ${manifest.stage}`), (text) =>
    sha256(`tessera.action.v1\0${text}`)
  )
