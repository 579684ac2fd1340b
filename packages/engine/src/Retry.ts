/**
 * Tries a task again where its failure may pass by itself, after pauses that grow.
 */
import { Duration, Effect, Random } from "effect"
import type { AnyStage } from "@tessera/core"
import { EngineError, StageFailed } from "./Errors.js"
import type { Failure } from "./Executor.js"

const TIMES = 3
const PAUSE = Duration.seconds(1)
const LONGEST = Duration.minutes(1)

export interface Failing<E> {
  readonly error: Failure<E>
  /** From 1. */
  readonly attempt: number
  readonly pause: Duration.Duration
}

const passes = <E>({ retry }: AnyStage["spec"], error: Failure<E>): boolean => {
  // A lost process says nothing about the stage: its machine may have gone, or somebody killed it.
  if (error instanceof EngineError) return error.reason === "Lost"
  if (!(error instanceof StageFailed)) return false
  return error.transient ?? isTransient(retry, error.cause)
}

/** What a stage says of one of its errors. */
export const isTransient = (retry: AnyStage["spec"]["retry"], error: unknown): boolean =>
  // The stage's types guarantee that it is one of its errors.
  retry?.transient(error as never) ?? false

/** @param limit attempts after the first, instead of what the stage says */
export const retried = <A, E, R, F>(
  spec: AnyStage["spec"],
  limit: number | undefined,
  attempt: Effect.Effect<A, Failure<E>, R>,
  onRetry: (failing: Failing<E>) => Effect.Effect<void, F, R>
): Effect.Effect<A, Failure<E> | F, R> => {
  const { retry } = spec
  const times = limit ?? retry?.times ?? (retry === undefined ? 1 : TIMES)
  const first = Duration.toMillis(retry?.pause ?? PAUSE)
  const from = (n: number): Effect.Effect<A, Failure<E> | F, R> =>
    Effect.catchAll(attempt, (error) =>
      n > times || !passes(spec, error)
        ? Effect.fail(error)
        : Effect.gen(function* () {
            const jitter = 0.8 + 0.4 * (yield* Random.next)
            const pause = Duration.millis(Math.min(first * 2 ** (n - 1), Duration.toMillis(LONGEST)) * jitter)
            yield* onRetry({ error, attempt: n, pause })
            yield* Effect.sleep(pause)
            return yield* from(n + 1)
          })
    )
  return from(1)
}
