/**
 * The events of one run, in order: appended to the run's log, then told to whoever listens. Progress is told but not
 * logged: it is many times the rest, and nobody asks for it later.
 */
import { Store, type StoreError } from "@tessera/store"
import { DateTime, Effect } from "effect"
import type { RunEvent } from "./Events.js"
import { record } from "./Telemetry.js"

type Untimed<Event> = Event extends unknown ? Omit<Event, "at"> : never

export interface Journal {
  readonly run: string
  readonly tell: (event: Untimed<RunEvent>) => Effect.Effect<void, StoreError>
}

export const make = (
  run: string,
  onEvent: (event: RunEvent) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<Journal, never, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const turn = yield* Effect.makeSemaphore(1)
    return {
      run,
      tell: (untimed) =>
        turn.withPermits(1)(
          Effect.gen(function* () {
            const event = { ...untimed, at: DateTime.formatIso(yield* DateTime.now) } as RunEvent
            if (event._tag !== "TaskProgress") yield* store.appendEvent(run, event)
            yield* record(event)
            yield* onEvent(event)
          }).pipe(Effect.uninterruptible)
        )
    }
  })
