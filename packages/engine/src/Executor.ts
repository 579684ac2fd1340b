/**
 * Where an execution happens. Every executor gets the same request and gives the same outputs; which one ran is in no key.
 */
import type { ArtifactError, GraphError, Progress } from "@tessera/core"
import type { Store, StoreError } from "@tessera/store"
import type { Effect } from "effect"
import type { EngineError, StageFailed } from "./Errors.js"
import type { Job, Outputs } from "./Job.js"

export type Failure<E> = StageFailed<E> | EngineError | StoreError | ArtifactError | GraphError

/** One execution that has its lease and its slots. */
export interface Request<E> {
  /** All that another process needs to do it. Its inputs are in the store's own folder. */
  readonly job: Effect.Effect<Job, Failure<E>>
  /** Does it in this process. */
  readonly here: Effect.Effect<Outputs, Failure<E>>
  readonly report: (progress: Progress) => Effect.Effect<void>
}

/**
 * Runs one execution to its end. The outputs that it answers are committed to the store; the engine publishes them.
 * Interrupted, it ends whatever it started before it returns.
 */
export interface Executor {
  readonly name: string
  readonly run: <E>(request: Request<E>) => Effect.Effect<Outputs, Failure<E>, Store>
}

/** In this process. */
export const inline: Executor = { name: "inline", run: ({ here }) => here }
