/**
 * Work that is interrupted at several moments: at once, soon, and in its middle.
 */
import { Duration, Effect, Fiber } from "effect"
import { violated } from "../Check.js"

/** Fails where the work, repeated for ever, does not end when it is interrupted. */
export const leavesWorking = (
  what: string,
  work: Effect.Effect<unknown, unknown>,
  patience: Duration.DurationInput
): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const [took] = yield* Effect.timed(work)
    for (const moment of [Duration.zero, Duration.millis(2), Duration.times(took, 0.5)]) {
      const fiber = yield* Effect.fork(Effect.forever(work))
      yield* Effect.sleep(moment)
      yield* Fiber.interruptFork(fiber)
      yield* Effect.timeoutFail(Fiber.await(fiber), {
        duration: patience,
        onTimeout: () => undefined
      }).pipe(
        Effect.catchAll(() =>
          violated(`${what} went on for ${Duration.format(Duration.decode(patience))} after its interruption`)
        )
      )
    }
  })
