/**
 * Keeps a remote that does not work from being asked again and again: after a failure it is left alone for a while, and
 * whoever would ask is told no at once.
 */
import { Clock, Duration, Effect } from "effect"
import { RemoteError } from "./Protocol.js"

export interface Circuit {
  /** Asks the remote, or fails at once while it is left alone. */
  readonly through: <A, E, R>(
    ask: Effect.Effect<A, E | RemoteError, R>
  ) => Effect.Effect<A, E | RemoteError, R>
  /** What went wrong last, while the remote is left alone. */
  readonly broken: Effect.Effect<RemoteError | undefined>
}

export interface Options {
  /** Whether a failure says something about the remote, rather than about what it was asked for. */
  readonly trips: (error: RemoteError) => boolean
  /** Hears of the first failure, and of the end of it. */
  readonly onBroken: (error: RemoteError) => Effect.Effect<void>
  readonly onMended: Effect.Effect<void>
}

/** How long a broken remote is left alone: twice as long each time. */
const FIRST = Duration.toMillis("30 seconds")
const LONGEST = Duration.toMillis("10 minutes")

export const make = ({ trips, onBroken, onMended }: Options): Circuit => {
  let state: { readonly error: RemoteError; readonly until: number; readonly pause: number } | undefined
  const opened = (error: RemoteError, now: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      // Requests that were under way together fail together: one of them counts.
      if (state !== undefined && now < state.until) return Effect.void
      const pause = state === undefined ? FIRST : Math.min(LONGEST, state.pause * 2)
      const first = state === undefined
      state = { error, pause, until: now + pause }
      return first ? onBroken(error) : Effect.void
    })
  return {
    broken: Effect.map(Clock.currentTimeMillis, (now) =>
      state !== undefined && now < state.until ? state.error : undefined
    ),
    through: (ask) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const before = state
        if (before !== undefined) {
          if (now < before.until) return yield* Effect.fail(before.error)
          // One asks; the others are told no until it knows.
          state = { ...before, until: now + before.pause }
        }
        return yield* ask.pipe(
          Effect.tapError((error) => {
            if (!(error instanceof RemoteError) || !trips(error)) return Effect.void
            if (before !== undefined) state = before
            return Effect.flatMap(Clock.currentTimeMillis, (now) => opened(error, now))
          }),
          Effect.tap(() =>
            Effect.suspend(() => {
              if (state === undefined || before === undefined) return Effect.void
              state = undefined
              return onMended
            })
          )
        )
      })
  }
}
