/**
 * The time of one run, by a clock that may be wrong: ids of runs stay in order, durations are measured by a clock that
 * cannot be set, and a clock that went back is told.
 */
import { Store } from "@tessera/store"
import { Clock, Duration, Effect, Option } from "effect"
import { decodeTime, ulid } from "ulid"

export interface RunTime {
  /** The run's id: it sorts after those of all runs in the store. */
  readonly run: string
  /** Since the run began, in milliseconds. */
  readonly millis: Effect.Effect<number>
  /** What a person should know about the clock, where it is behind the store's newest run. */
  readonly behind: Option.Option<string>
  /** The same, where it was set back since the run began. */
  readonly setBack: Effect.Effect<Option.Option<string>>
}

/** Clocks of machines that share a store differ by this much without a word. */
const USUAL = Duration.toMillis(Duration.minutes(1))

const ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

const words = (millis: number) => Duration.format(Duration.seconds(Math.round(millis / 1000)))

export const make: Effect.Effect<RunTime, never, Store> = Effect.gen(function* () {
  const store = yield* Store
  const now = yield* Clock.currentTimeMillis
  const elapsed = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1_000_000n))
  const began = yield* elapsed
  const runs = yield* Effect.orElseSucceed(store.runs, () => [])
  const newest = Option.fromNullable(runs.find((run) => ID.test(run))).pipe(
    Option.match({ onNone: () => 0, onSome: decodeTime })
  )
  const late = newest - now
  return {
    run: ulid(Math.max(now, newest + 1)),
    millis: Effect.map(elapsed, (at) => at - began),
    behind:
      late > USUAL
        ? Option.some(
            `the clock is ${words(late)} behind the store's newest run: this run counts as the newest all the same, ` +
              "but times in its log are this clock's"
          )
        : Option.none(),
    setBack: Effect.map(Effect.all([Clock.currentTimeMillis, elapsed]), ([wall, at]) => {
      const lost = at - began - (wall - now)
      return lost > USUAL
        ? Option.some(
            `the clock was set back by ${words(lost)} while this ran: times in its log do not go up, its order and durations are right`
          )
        : Option.none()
    })
  }
})
