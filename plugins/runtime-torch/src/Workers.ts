/**
 * Workers by the GPUs that they see: one per GPU slot, started when asked for, replaced when it died, ended when nobody
 * has asked for a while.
 */
import { CurrentTask } from "@tessera/core"
import type { RuntimeError } from "@tessera/runtime"
import { Context, Effect, Exit, RcMap, Scope } from "effect"
import * as Worker from "./Worker.js"

/** A worker's place: the worker changes, the place stays. */
export interface Place {
  /** The worker of now; another one where that has died. */
  readonly worker: Effect.Effect<Worker.Worker, RuntimeError>
}

export interface Workers {
  /** The place of the GPUs that the current task holds; outside of a task, or where it holds none, of all there are. */
  readonly place: Effect.Effect<Place, never, Scope.Scope>
}

/** For stages that ask a worker something of their own. */
export class TorchWorkers extends Context.Tag("@tessera/runtime-torch/TorchWorkers")<
  TorchWorkers,
  Workers
>() {}

/** CUDA_VISIBLE_DEVICES of the current task's worker; undefined where it holds no GPU. */
export const taskDevices: Effect.Effect<string | undefined> = Effect.map(CurrentTask, (task) => {
  const gpus = task?.slots["gpu"] ?? []
  return gpus.length === 0 ? undefined : gpus.join(",")
})

const makePlace = (
  start: Effect.Effect<Worker.Worker, RuntimeError, Scope.Scope>
): Effect.Effect<Place, never, Scope.Scope> =>
  Effect.gen(function* () {
    const outer = yield* Effect.scope
    const one = yield* Effect.makeSemaphore(1)
    let current: { readonly worker: Worker.Worker; readonly scope: Scope.CloseableScope } | undefined
    return {
      worker: Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          if (current !== undefined) {
            if (yield* current.worker.alive) return current.worker
            yield* Scope.close(current.scope, Exit.void)
            current = undefined
          }
          const scope = yield* Scope.fork(outer, "sequential" as never)
          const worker = yield* restore(Scope.extend(start, scope)).pipe(
            Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
          )
          current = { worker, scope }
          return worker
        })
      ).pipe(one.withPermits(1))
    }
  })

/** @param start a worker that sees these GPUs, as CUDA_VISIBLE_DEVICES names them; all of them where undefined. */
export const make = (
  start: (devices: string | undefined) => Effect.Effect<Worker.Worker, RuntimeError, Scope.Scope>
): Effect.Effect<Workers, never, Scope.Scope> =>
  Effect.gen(function* () {
    const places = yield* RcMap.make({
      lookup: (devices: string) => makePlace(start(devices === "" ? undefined : devices)),
      // A pipeline's next task wants it again.
      idleTimeToLive: "1 minute"
    })
    return { place: Effect.flatMap(taskDevices, (devices) => RcMap.get(places, devices ?? "")) }
  })
