/**
 * What a consumer sees along an edge: a producer's output whole, split, shard by shard, or put back together. Splits
 * and concatenations are remembered in the store like executions, so a rerun reads their results only.
 */
import type { ArtifactError, Graph, GraphError, Manifest } from "@tessera/core"
import { Store, type Artifact, type StoreError } from "@tessera/store"
import { DateTime, Duration, Effect, Option } from "effect"
import { EngineError } from "./Errors.js"
import { internal, type Inputs } from "./Keys.js"
import type { PreparedNode } from "./Prepare.js"

export interface Shard {
  readonly shard: string
  readonly artifact: Artifact
}

/** What a node produced. */
export type Outcome =
  | { readonly _tag: "One"; readonly outputs: Inputs }
  | {
      readonly _tag: "Many"
      readonly shards: ReadonlyArray<{ readonly shard: string; readonly outputs: Inputs }>
    }

/** What arrives at an input. */
export type Value =
  | { readonly _tag: "One"; readonly artifact: Artifact }
  | { readonly _tag: "Many"; readonly shards: ReadonlyArray<Shard> }

/** One execution: of the node, or of one of its shards. */
export interface Job {
  readonly shard?: string
  readonly inputs: Inputs
}

type Failure = StoreError | ArtifactError | EngineError | GraphError

const one = (artifact: Artifact): Value => ({ _tag: "One", artifact })
const many = (shards: ReadonlyArray<Shard>): Value => ({ _tag: "Many", shards })

const output = (outputs: Inputs, port: string, where: string): Effect.Effect<Artifact, EngineError> => {
  const found = outputs[port]
  return found === undefined
    ? Effect.fail(
        new EngineError({ reason: "Output", where, detail: `its stored result has no output ${port}` })
      )
    : Effect.succeed(found)
}

// Positions keep the order of shards: the names of a stored record are not ordered.
const position = (i: number) => String(i).padStart(6, "0")

/** How to answer: `compute` does what is missing, `look` only reads what is there. */
export type Mode = { readonly run: string; readonly mode: "compute" | "look" }

const remembered = (
  { run, mode }: Mode,
  what: "split" | "gather",
  of: { readonly inputs: Inputs; readonly params: Manifest["params"]; readonly output: string },
  compute: Effect.Effect<Inputs, StoreError | ArtifactError, Store>
): Effect.Effect<Option.Option<Inputs>, Failure, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const { key, manifest } = yield* internal(what, of.inputs, of.params, of.output)
    const known = yield* store.getAction(key)
    if (Option.isSome(known)) return Option.some(known.value.outputs)
    if (mode === "look") return Option.none()
    yield* store.lease(key)
    // Whoever held the lease before may have computed it.
    const made = yield* store.getAction(key)
    if (Option.isSome(made)) return Option.some(made.value.outputs)
    const startedAt = yield* DateTime.now
    const [took, outputs] = yield* Effect.timed(compute)
    yield* store.putAction({
      key,
      manifest,
      outputs,
      run,
      node: `tessera/${what}`,
      startedAt: DateTime.formatIso(startedAt),
      millis: Math.round(Duration.toMillis(took))
    })
    return Option.some(outputs)
  }).pipe(Effect.scoped)

const split = (
  mode: Mode,
  artifact: Artifact,
  by: string
): Effect.Effect<Option.Option<Value>, Failure, Store> =>
  remembered(
    mode,
    "split",
    { inputs: { table: artifact }, params: { by }, output: artifact.type },
    Effect.gen(function* () {
      const store = yield* Store
      const shards = yield* store.split(artifact, by)
      return Object.fromEntries(shards.map(({ shard, artifact }, i) => [`${position(i)}:${shard}`, artifact]))
    })
  ).pipe(
    Effect.map(
      Option.map((outputs) =>
        many(
          Object.entries(outputs)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([name, artifact]) => ({ shard: name.slice(name.indexOf(":") + 1), artifact }))
        )
      )
    )
  )

const gather = (
  mode: Mode,
  { name, node }: PreparedNode,
  port: string,
  shards: ReadonlyArray<Shard>
): Effect.Effect<Option.Option<Artifact>, Failure, Store> => {
  const type = node.stage.spec.outputs[port]
  if (type?.kind !== "table") {
    return new EngineError({
      reason: "Shards",
      where: `${name}.${port}`,
      detail: `shards of a ${type?.kind ?? "missing output"} cannot be put together; only tables can`
    })
  }
  return remembered(
    mode,
    "gather",
    {
      inputs: Object.fromEntries(shards.map(({ artifact }, i) => [position(i), artifact])),
      params: {},
      output: type.id
    },
    Effect.gen(function* () {
      const store = yield* Store
      return {
        table: yield* store.concat(
          type,
          shards.map(({ artifact }) => artifact)
        )
      }
    })
  ).pipe(Effect.map(Option.flatMap((outputs) => Option.fromNullable(outputs["table"]))))
}

/** None where it would have to be computed and `mode` only looks. */
export const view = (
  mode: Mode,
  producer: PreparedNode,
  outcome: Outcome,
  edge: Graph.Edge
): Effect.Effect<Option.Option<Value>, Failure, Store> =>
  Effect.gen(function* () {
    const where = `${producer.name}.${edge.port}`
    if (outcome._tag === "One") {
      const artifact = yield* output(outcome.outputs, edge.port, producer.name)
      return edge.view._tag === "Shard"
        ? yield* split(mode, artifact, edge.view.by)
        : Option.some(one(artifact))
    }
    const shards = yield* Effect.forEach(outcome.shards, ({ shard, outputs }) =>
      Effect.map(output(outputs, edge.port, producer.name), (artifact) => ({ shard, artifact }))
    )
    switch (edge.view._tag) {
      case "Shards":
        return Option.some(many(shards))
      case "Gather":
        return Option.map(yield* gather(mode, producer, edge.port, shards), one)
      case "Shard": {
        // Gathered, then split again by another column.
        const whole = yield* gather(mode, producer, edge.port, shards)
        return Option.isNone(whole) ? Option.none() : yield* split(mode, whole.value, edge.view.by)
      }
      case "Whole":
        return yield* new EngineError({
          reason: "Shards",
          where,
          detail: "ran once per shard; gather its shards first"
        })
    }
  })

/** The executions of a node: one, or one per shard that all its sharded inputs have. */
export const jobs = (
  { name, node }: PreparedNode,
  values: Readonly<Record<string, Value>>
): Effect.Effect<ReadonlyArray<Job>, EngineError> => {
  const wrong = (detail: string) => new EngineError({ reason: "Shards", where: name, detail })
  const whole: Record<string, Artifact> = {}
  const sharded: Array<readonly [port: string, shards: ReadonlyArray<Shard>]> = []
  for (const [port, value] of Object.entries(values)) {
    if (value._tag === "One") whole[port] = value.artifact
    else sharded.push([port, value.shards])
  }
  if (!node.each) {
    const [port] = sharded[0] ?? []
    return port === undefined
      ? Effect.succeed([{ inputs: whole }])
      : wrong(`its input ${port} is sharded; use ${node.stage.id}.each, or gather`)
  }
  const [first] = sharded
  if (first === undefined) return wrong("runs once per shard, but none of its inputs is sharded")
  const [firstPort, firstShards] = first
  for (const [port, shards] of sharded.slice(1)) {
    const names = new Set(shards.map(({ shard }) => shard))
    const missing = firstShards.find(({ shard }) => !names.has(shard))
    if (missing !== undefined || shards.length !== firstShards.length) {
      const surplus = shards.find(({ shard }) => !firstShards.some((other) => other.shard === shard))
      return wrong(
        missing === undefined
          ? `${port} has a shard ${surplus?.shard} that ${firstPort} has not`
          : `${firstPort} has a shard ${missing.shard} that ${port} has not`
      )
    }
  }
  const byName = sharded.map(
    ([port, shards]) => [port, new Map(shards.map((s) => [s.shard, s.artifact]))] as const
  )
  return Effect.succeed(
    firstShards.map(({ shard }) => ({
      shard,
      inputs: {
        ...whole,
        ...Object.fromEntries(
          byName.flatMap(([port, artifacts]) => {
            const artifact = artifacts.get(shard)
            return artifact === undefined ? [] : [[port, artifact]]
          })
        )
      }
    }))
  )
}
