/**
 * Manifests and keys of executions, and the small manifests under which splits and concatenations are remembered.
 */
import {
  fingerprint,
  type GraphError,
  type Json,
  key as keyOf,
  type Manifest,
  type Reader,
  type Port,
  type AnyStage,
  type Fingerprint,
  type Graph
} from "@tessera/core"
import type { Artifact } from "@tessera/store"
import { Effect, Schema } from "effect"
import * as Assets from "./Assets.js"
import * as Code from "./Code.js"
import { StageFailed, type EngineError } from "./Errors.js"
import type { PreparedNode } from "./Prepare.js"
import type { Services } from "./Services.js"

export type Inputs = Readonly<Record<string, Artifact>>
export type Readers = Readonly<Record<string, Reader<Port>>>

export interface Keyed {
  readonly key: string
  readonly manifest: Manifest
  /** Modules behind `manifest.code`. */
  readonly code: ReadonlyArray<Code.Code>
}

const JsonValue: Schema.Schema<Json> = Schema.Union(
  Schema.Null,
  Schema.Boolean,
  Schema.Number,
  Schema.String,
  Schema.Array(Schema.suspend(() => JsonValue)),
  Schema.Record({ key: Schema.String, value: Schema.suspend(() => JsonValue) })
)

const Words = Schema.Record({ key: Schema.String, value: Schema.String })

/** Manifests as the store holds them. */
export const StoredManifest: Schema.Schema<Manifest> = Schema.Struct({
  format: Schema.Literal(1),
  stage: Schema.String,
  version: Schema.String,
  code: Schema.String,
  params: JsonValue,
  inputs: Schema.Record({ key: Schema.String, value: Schema.Tuple(Schema.String, Schema.String) }),
  outputs: Words,
  environment: Words
})

const mapValues = <A, B>(record: Readonly<Record<string, A>>, f: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, f(value)]))

const contents = (inputs: Inputs): Manifest["inputs"] =>
  mapValues(inputs, ({ type, digest }) => [type, digest] as const)

/** What of a key depends on the stage alone. */
interface Identity {
  readonly code: ReadonlyArray<Code.Code>
  readonly digest: string
  readonly outputs: Manifest["outputs"]
  readonly environment: Manifest["environment"]
}

export interface Keys<E> {
  readonly keyed: (
    node: PreparedNode,
    inputs: Inputs
  ) => Effect.Effect<Keyed, EngineError | GraphError | StageFailed<E>>
  /** The executions of a node keyed so far. */
  readonly of: (node: Graph.Node) => ReadonlyArray<Keyed>
}

/** Fingerprints are taken and modules digested once, when a node of the stage is first keyed. */
export const make = <E>(nodes: ReadonlyArray<PreparedNode>, services: Services<E>): Effect.Effect<Keys<E>> =>
  Effect.gen(function* () {
    const modules = [...new Set(nodes.map(({ node }) => node.stage.spec.module))]
    const all = yield* Effect.cached(Code.digests(modules))

    const identify = (name: string, stage: AnyStage): Effect.Effect<Identity, EngineError | StageFailed<E>> =>
      Effect.gen(function* () {
        const { spec } = stage
        const own = (yield* all).filter((code) => code.module === spec.module)
        const facts: Fingerprint =
          spec.fingerprint === undefined
            ? { facts: {} }
            : yield* services.lend(
                { node: name },
                Effect.mapError(spec.fingerprint, (cause) => new StageFailed<E>({ node: name, cause }))
              )
        const device = spec.reproducible === "device" ? Object.entries(facts.device ?? {}) : []
        const code = [
          ...own,
          ...(yield* Code.digests(facts.modules ?? [])),
          ...(yield* Assets.digests([...(spec.assets ?? []), ...(facts.assets ?? [])]))
        ]
        return {
          code,
          digest: Code.combine(code),
          outputs: mapValues(spec.outputs, fingerprint),
          environment: {
            ...facts.facts,
            ...Object.fromEntries(device.map(([fact, value]) => [`device:${fact}`, value]))
          }
        }
      })
    const identities = new Map<AnyStage, Effect.Effect<Identity, EngineError | StageFailed<E>>>()
    for (const { name, node } of nodes) {
      if (!identities.has(node.stage))
        identities.set(node.stage, yield* Effect.cached(identify(name, node.stage)))
    }

    const byNode = new Map<Graph.Node, Array<Keyed>>()

    return {
      of: (node) => byNode.get(node) ?? [],
      keyed: ({ name, node, encoded }, inputs) =>
        Effect.gen(function* () {
          const identity = yield* identities.get(node.stage) ?? identify(name, node.stage)
          const manifest: Manifest = {
            format: 1,
            stage: node.stage.id,
            version: node.stage.spec.version,
            code: identity.digest,
            params: encoded,
            inputs: contents(inputs),
            outputs: identity.outputs,
            environment: identity.environment
          }
          const keyed = { key: yield* keyOf(manifest), manifest, code: identity.code }
          const others = byNode.get(node)
          if (others === undefined) byNode.set(node, [keyed])
          else others.push(keyed)
          return keyed
        })
    }
  })

/** The manifest of something the engine does itself. */
export const internal = (
  what: "split" | "gather" | "code",
  inputs: Inputs,
  params: Manifest["params"],
  output: string
): Effect.Effect<Omit<Keyed, "code">, GraphError> => {
  const manifest: Manifest = {
    format: 1,
    stage: `tessera/${what}`,
    version: "1",
    code: "",
    params,
    inputs: contents(inputs),
    outputs: { output },
    environment: {}
  }
  return Effect.map(keyOf(manifest), (key) => ({ key, manifest }))
}
