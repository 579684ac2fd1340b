/**
 * One run of a stage in a store of its own, and what it gave.
 */
import { isDeepStrictEqual } from "node:util"
import { type AnyStage, apply, gather, pipeline, type Port, type Ref, shard, stage } from "@tessera/core"
import { run, type RunError, type RunEvent } from "@tessera/engine"
import { type Artifact, Store } from "@tessera/store"
import { Effect } from "effect"
import { violated } from "../Check.js"
import { contentOf, given } from "./Given.js"

/** The parts of a fixture that the checks use, without its types. */
export interface Trial {
  readonly inputs: Readonly<Record<string, unknown>>
  readonly params: unknown
  readonly defaults?: Readonly<Record<string, unknown>>
  readonly each?: Readonly<Record<string, string | undefined>>
  readonly tolerance?: number
}

export interface Output {
  readonly type: Port
  readonly artifact: Artifact
  readonly content: unknown
}
export type Outputs = Readonly<Record<string, Output>>

/** The node's name in every pipeline here. */
export const NODE = "stage-under-test"

/** The stage, telling each scratch folder that it is lent. What fails fails at once. */
export const watched = (subject: AnyStage, seen: (scratch: string) => void): AnyStage => {
  const { retry: _, ...spec } = subject.spec
  return stage(subject.id, {
    ...spec,
    run: (inputs, params, task) => {
      seen(task.scratch)
      return spec.run(inputs, params, task) as Effect.Effect<never, unknown, unknown>
    }
  })
}

export const refs = (subject: AnyStage, { inputs }: Trial): Readonly<Record<string, Ref.Any>> =>
  Object.fromEntries(
    Object.entries(subject.spec.inputs).map(([port, type]) => [port, given(type, inputs[port])])
  )

/** A pipeline of the stage alone. */
export const whole = (subject: AnyStage, trial: Trial) =>
  pipeline("conformance", apply(subject, refs(subject, trial), trial.params, { name: NODE, each: false }))

/** A pipeline of the stage per shard, its tables put together again. */
export const sharded = (subject: AnyStage, trial: Trial) => {
  const inputs = Object.entries(refs(subject, trial)).map(([port, ref]) => {
    const by = trial.each?.[port]
    return [port, by === undefined ? ref : shard(ref as never, by as never)] as const
  })
  const outputs = apply(subject, Object.fromEntries(inputs), trial.params, { name: NODE, each: true })
  return pipeline(
    "conformance",
    Object.fromEntries(
      Object.entries(outputs)
        .filter(([port]) => subject.spec.outputs[port]?.kind === "table")
        .map(([port, ref]) => [port, gather(ref as never)])
    )
  )
}

/** Runs a pipeline of the stage and reads what its outputs' ports find. */
export const outputsOf = <R>(
  subject: AnyStage,
  subjects: ReturnType<typeof whole>,
  onEvent?: (event: RunEvent) => Effect.Effect<void>
): Effect.Effect<Outputs, unknown, R | Store> =>
  Effect.gen(function* () {
    const { targets } = yield* run(subjects, onEvent === undefined ? {} : { onEvent }) as Effect.Effect<
      Effect.Effect.Success<ReturnType<typeof run>>,
      RunError<unknown>,
      R | Store
    >
    const outputs: Record<string, Output> = {}
    for (const [port, artifact] of Object.entries(targets)) {
      const type = subject.spec.outputs[port]
      if (type === undefined) return yield* violated(`there is a target ${port} that is no output`)
      outputs[port] = { type, artifact, content: yield* contentOf(type, artifact) }
    }
    return outputs
  })

/** Whether two contents are equal, numbers within a tolerance. */
export const close = (a: unknown, b: unknown, tolerance: number): boolean => {
  if (typeof a === "number" && typeof b === "number")
    return Object.is(a, b) || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b))
  if (typeof a === "object" && typeof b === "object" && a !== null && b !== null) {
    const [left, right] = [Object.entries(a), Object.entries(b)]
    return (
      left.length === right.length &&
      left.every(
        ([name, value]) => name in b && close(value, (b as Record<string, unknown>)[name], tolerance)
      )
    )
  }
  return isDeepStrictEqual(a, b)
}

const exactly = (_: string, value: unknown): unknown =>
  typeof value === "bigint"
    ? `${value}n`
    : typeof value === "number" && !Number.isInteger(value)
      ? null
      : value

/** Rows in an order that does not depend on measured numbers. */
export const ordered = (content: unknown): unknown =>
  Array.isArray(content)
    ? content
        .map((row: unknown) => ({ row, by: JSON.stringify(row, exactly) }))
        .sort((a, b) => (a.by < b.by ? -1 : a.by > b.by ? 1 : 0))
        .map(({ row }) => row)
    : content
