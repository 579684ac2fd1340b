/**
 * Workers by the GPUs that they see: one per GPU slot, started when asked for, replaced when it died, ended when nobody
 * has asked for a while.
 */
import { CurrentTask } from "@tessera/core"
import type { RuntimeError } from "@tessera/runtime"
import { Context, Effect, ExecutionStrategy, Exit, RcMap, Scope } from "effect"
import type { Hello } from "./Protocol.js"
import type { Worker } from "./Worker.js"

/** A worker's place: the worker changes, the place stays. */
export interface Place {
  /** The worker of now; another one where that has died. */
  readonly worker: Effect.Effect<Worker, RuntimeError>
}

export interface Workers {
  /** The place of these GPUs, as CUDA_VISIBLE_DEVICES names them; of all there are where empty. */
  readonly at: (devices: string) => Effect.Effect<Place, never, Scope.Scope>
  /** What a worker that sees all GPUs says of itself. */
  readonly hello: Effect.Effect<Hello, RuntimeError>
}

/** For stages that ask a worker something of their own. */
export class TorchWorkers extends Context.Tag("@tessera/runtime-torch/TorchWorkers")<
  TorchWorkers,
  Workers
>() {}

/** The GPUs that the current task holds; empty outside of a task, or where it holds none. */
export const taskDevices: Effect.Effect<string> = Effect.map(CurrentTask, (task) =>
  (task?.slots["gpu"] ?? []).join(",")
)

const makePlace = (
  start: Effect.Effect<Worker, RuntimeError, Scope.Scope>
): Effect.Effect<Place, never, Scope.Scope> =>
  Effect.gen(function* () {
    const outer = yield* Effect.scope
    const one = yield* Effect.makeSemaphore(1)
    let current: { readonly worker: Worker; readonly scope: Scope.CloseableScope } | undefined
    return {
      worker: Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          if (current !== undefined) {
            if (yield* current.worker.alive) return current.worker
            yield* Scope.close(current.scope, Exit.void)
            current = undefined
          }
          const scope = yield* Scope.fork(outer, ExecutionStrategy.sequential)
          const worker = yield* restore(Scope.extend(start, scope)).pipe(
            Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
          )
          current = { worker, scope }
          return worker
        })
      ).pipe(one.withPermits(1))
    }
  })

/** The first success; a failure is tried again by whoever asks next. */
const cachedSuccess = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Effect.Effect<A, E>> =>
  Effect.map(Effect.makeSemaphore(1), (one) => {
    let known: A | undefined
    return Effect.suspend(() =>
      known === undefined
        ? Effect.tap(effect, (found) => Effect.sync(() => (known = found)))
        : Effect.succeed(known)
    ).pipe(one.withPermits(1))
  })

/** @param start a worker that sees these GPUs; all of them where undefined. */
export const make = (
  start: (devices: string | undefined) => Effect.Effect<Worker, RuntimeError, Scope.Scope>
): Effect.Effect<Workers, never, Scope.Scope> =>
  Effect.gen(function* () {
    const places = yield* RcMap.make({
      lookup: (devices: string) => makePlace(start(devices === "" ? undefined : devices)),
      // A pipeline's next task wants it again.
      idleTimeToLive: "1 minute"
    })
    const at = (devices: string) => RcMap.get(places, devices)
    const hello = yield* cachedSuccess(
      Effect.scoped(Effect.flatMap(at(""), ({ worker }) => Effect.map(worker, ({ hello }) => hello)))
    )
    return { at, hello }
  })
