/**
 * From anything that can go wrong to one message and an exit code.
 */
import { ValidationError } from "@effect/cli"
import { Cause, Chunk, Data, Option } from "effect"

export const ExitCode = { ok: 0, stage: 1, usage: 2, store: 3, interrupted: 130 } as const

/** The command was asked for something that cannot be done as asked. */
export class CliError extends Data.TaggedError("CliError")<{
  readonly reason:
    | "PipelineFile"
    | "PlanFile"
    | "Parameter"
    | "Artifact"
    | "Run"
    | "Output"
    | "Reproduced"
    | "Killed"
    | "Doctor"
  /** The file, parameter, artifact or run. */
  readonly where: string
  readonly detail: string
  readonly hint?: string
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}

/** What the user is told: as text on stderr, or as the last JSON line with `--json`. */
export interface Failure {
  readonly _tag: "Failure"
  readonly exit: number
  /** The error's tag and closed reason, such as `StoreError/ReadOnly`. */
  readonly reason: string
  readonly message: string
  readonly hint?: string
}

const failure = (exit: number, reason: string, message: string, hint?: string): Failure => ({
  _tag: "Failure",
  exit,
  reason,
  message,
  ...(hint === undefined ? {} : { hint })
})

interface Tagged {
  readonly _tag: string
  readonly reason?: unknown
  readonly message?: unknown
  readonly cause?: unknown
}

const isTagged = (error: unknown): error is Tagged =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string"

/** What an error says of itself, without its stack. */
export const messageOf = (error: unknown): string => {
  if (Cause.isCause(error))
    return Option.match(primary(error), { onNone: () => "interrupted", onSome: messageOf })
  if (error instanceof Error && error.message !== "") return error.message
  if (isTagged(error))
    return typeof error.message === "string" && error.message !== "" ? error.message : error._tag
  return error instanceof Error ? error.name : String(error)
}

/** The error to tell: expected failures before defects. */
const primary = (cause: Cause.Cause<unknown>): Option.Option<unknown> =>
  Option.orElse(Chunk.head(Cause.failures(cause)), () => Chunk.head(Cause.defects(cause)))

/** An error and what it was caused by, outermost first. */
const chain = (error: unknown): ReadonlyArray<unknown> => {
  const found: Array<unknown> = []
  let next = error
  while (next !== undefined && !found.includes(next) && found.length < 16) {
    if (Cause.isCause(next)) {
      next = Option.getOrUndefined(primary(next))
      continue
    }
    found.push(next)
    next = typeof next === "object" && next !== null && "cause" in next ? next.cause : undefined
  }
  return found
}

const storeHints: Readonly<Record<string, string>> = {
  ReadOnly: "Choose a folder that can be written with --store or TESSERA_STORE.",
  Permission: "Choose a folder that you may write with --store or TESSERA_STORE.",
  NoSpace: "Free some space, or choose another disk with --store. Everything committed so far is kept.",
  Corrupt: "Run the pipeline again: damaged results are recomputed."
}

const storeFailure = (error: Tagged, message = messageOf(error)): Failure =>
  failure(ExitCode.store, reasonOf(error), `store: ${message}`, storeHints[String(error.reason)])

const reasonOf = (error: Tagged): string =>
  typeof error.reason === "string" ? `${error._tag}/${error.reason}` : error._tag

const isStoreTrouble = (error: unknown): boolean =>
  isTagged(error) &&
  (error._tag === "StoreError" || (error._tag === "ArtifactError" && error.reason !== "SchemaMismatch"))

const missingService = (errors: ReadonlyArray<unknown>): Failure | undefined => {
  for (const error of errors) {
    const service = /^Service not found: (\S+)/.exec(messageOf(error))?.[1]
    if (service === undefined) continue
    return failure(
      ExitCode.usage,
      "MissingService",
      `the pipeline needs the service ${service}, which nothing provides`,
      "Give it a layer in the pipeline file: export default provide(pipeline(...), SomeLayer). A type-check of the file shows what is missing."
    )
  }
  return undefined
}

const known = (error: Tagged, errors: ReadonlyArray<unknown>): Failure | undefined => {
  switch (error._tag) {
    case "CliError":
      return failure(
        /^(Reproduced|Killed|Doctor)$/.test(String(error.reason)) ? ExitCode.stage : ExitCode.usage,
        reasonOf(error),
        messageOf(error),
        error instanceof CliError ? error.hint : undefined
      )
    case "GraphError":
      return failure(ExitCode.usage, reasonOf(error), messageOf(error))
    case "StoreError":
      return storeFailure(error)
    case "ArchiveError":
      return failure(
        error.reason === "NotAnArchive" ? ExitCode.usage : ExitCode.store,
        reasonOf(error),
        messageOf(error)
      )
    case "ArtifactError":
      return isStoreTrouble(error)
        ? storeFailure(error)
        : failure(ExitCode.stage, reasonOf(error), messageOf(error))
    case "EngineError":
      return failure(
        error.reason === "Code" ? ExitCode.usage : ExitCode.stage,
        reasonOf(error),
        messageOf(error)
      )
    case "RunFailed":
      return failure(
        ExitCode.stage,
        "RunFailed",
        messageOf(error),
        "What was computed is kept; run the same command again to go on from here."
      )
    case "StageFailed": {
      // A stage whose input or commit the store could not give or take has not failed: the store has.
      const store = errors.find(isStoreTrouble)
      return isTagged(store)
        ? storeFailure(store)
        : failure(
            ExitCode.stage,
            "StageFailed",
            messageOf(error),
            "What was computed before is kept; run the same command again to go on from here."
          )
    }
    default:
      return undefined
  }
}

/** The one thing to tell about a cause. */
export const fromCause = (cause: Cause.Cause<unknown>): Failure =>
  Option.match(primary(cause), {
    onNone: () => failure(ExitCode.interrupted, "Interrupted", "interrupted; what was committed is kept"),
    onSome: (error) => {
      const errors = chain(error)
      const missing = missingService(errors)
      if (missing !== undefined) return missing
      if (ValidationError.isValidationError(error)) {
        return failure(ExitCode.usage, `Usage/${error._tag}`, "wrong command line")
      }
      const told = isTagged(error) ? known(error, errors) : undefined
      if (told !== undefined) return told
      return failure(
        ExitCode.stage,
        isTagged(error) ? reasonOf(error) : "Unexpected",
        messageOf(error),
        "This was not expected. Run with --verbose to see where it happened."
      )
    }
  })
