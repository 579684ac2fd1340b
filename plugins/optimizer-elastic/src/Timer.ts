/**
 * Time that long work has, and the gaps that it leaves to others.
 */
import { Clock, Effect } from "effect"

/** Seconds, from the making of the timer on. */
export interface Timer {
  readonly elapsed: () => number
  /** Never less than a moment: a step that gets no time at all could not even say what it has. */
  readonly left: () => number
  readonly late: () => boolean
}

const MOMENT = 0.05

export const timer = (seconds: number): Effect.Effect<Timer> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const begin = yield* Clock.currentTimeMillis
    const elapsed = () => (clock.unsafeCurrentTimeMillis() - begin) / 1000
    return {
      elapsed,
      left: () => Math.max(seconds - elapsed(), MOMENT),
      late: () => elapsed() >= seconds
    }
  })

/** Lets timers, signals and other fibers in between two blocking steps. */
export const breathe = Effect.async<void>((resume) => {
  const handle = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(handle))
})
