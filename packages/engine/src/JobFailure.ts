/**
 * Errors on their way through a job's result: from the process that met them to the one that waits.
 */
import { ArtifactError, type AnyStage, GraphError } from "@tessera/core"
import { StoreError } from "@tessera/store"
import type { At } from "./Commit.js"
import { EngineError, StageFailed } from "./Errors.js"
import type { Failure } from "./Executor.js"
import type { Failed } from "./Job.js"
import { place } from "./Produce.js"
import { isTransient } from "./Retry.js"

/** Fields of an error that JSON can hold. */
const fields = (error: unknown): Record<string, unknown> => {
  if (typeof error !== "object" || error === null) return {}
  const plain = Object.entries(error).filter(([name]) => name !== "cause" && name !== "stack")
  return Object.fromEntries(
    plain.flatMap(([name, value]) => {
      try {
        return JSON.stringify(value) === undefined ? [] : [[name, value]]
      } catch {
        return []
      }
    })
  )
}

/** @param retry of the stage that failed, if it got so far: its own process decides what is transient */
export const toResult = (error: Failure<unknown>, retry?: AnyStage["spec"]["retry"]): Failed => {
  if (!(error instanceof StageFailed)) {
    const { _tag, ...rest } = fields(error)
    return { _tag: "Failed", error: error._tag, message: error.message, fields: rest, transient: false }
  }
  const { cause } = error
  return {
    _tag: "Failed",
    error: error._tag,
    message: cause instanceof Error ? cause.message : String(cause),
    fields: fields(cause),
    transient: isTransient(retry, cause)
  }
}

const text = (fields: Readonly<Record<string, unknown>>, name: string, otherwise: string): string => {
  const value = fields[name]
  return typeof value === "string" ? value : otherwise
}

const reasonOf = <R extends string>(known: ReadonlyArray<R>, value: unknown, otherwise: R): R =>
  known.find((reason) => reason === value) ?? otherwise

export const fromResult = <E>(at: At, { error, fields, message, transient }: Failed): Failure<E> => {
  const detail = text(fields, "detail", message)
  switch (error) {
    case "StoreError": {
      const reasons = ["NotFound", "Corrupt", "ReadOnly", "NoSpace", "Permission", "Invalid", "Io"] as const
      const reason = reasonOf(reasons, fields["reason"], "Io")
      return new StoreError({ reason, path: text(fields, "path", place(at)), detail })
    }
    case "ArtifactError": {
      const reasons = ["NotFound", "Corrupt", "SchemaMismatch", "Unavailable"] as const
      const reason = reasonOf(reasons, fields["reason"], "Unavailable")
      return new ArtifactError({ reason, artifact: text(fields, "artifact", place(at)), detail })
    }
    case "EngineError": {
      const reasons = ["Code", "Output", "Defect", "Job"] as const
      const reason = reasonOf(reasons, fields["reason"], "Job")
      return new EngineError({ reason, where: text(fields, "where", place(at)), detail })
    }
    case "GraphError": {
      const reasons = [
        "InvalidParameter",
        "UnknownParameter",
        "UnknownNode",
        "DuplicateName",
        "Unencodable"
      ] as const
      const reason = reasonOf(reasons, fields["reason"], "InvalidParameter")
      return new GraphError({ reason, where: text(fields, "where", place(at)), detail })
    }
    default: {
      // Data under the stage's own tag: handlers by `_tag` work, those by class do not.
      const cause = Object.assign(new Error(message), fields)
      return new StageFailed<E>({ ...at, cause, transient })
    }
  }
}
