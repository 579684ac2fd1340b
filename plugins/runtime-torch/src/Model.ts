/**
 * A model on a place's worker: what it is asked is written to a file, and the answer read from another.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ModelConfig, RuntimeError } from "@tessera/runtime"
import { Effect, type Scope } from "effect"
import type * as Arrow from "apache-arrow"
import * as ArrowFiles from "./ArrowFiles.js"
import { atMost } from "./ChildProcess.js"
import { failed } from "./Errors.js"
import type { DeviceKind, Dtype, Method, Params } from "./Protocol.js"
import type { Worker } from "./Worker.js"
import type { Place } from "./Workers.js"

/** Methods that read a table and write one. */
type TableMethod = Exclude<Method, "load" | "unload" | "convertGguf">

export interface Model {
  readonly config: ModelConfig
  /** Sends a table, and takes from the one that comes back. */
  readonly ask: <M extends TableMethod, A>(
    method: M,
    params: Omit<Params<M>, "model" | "input" | "output">,
    input: Readonly<Record<string, Arrow.Vector>>,
    take: (output: ArrowFiles.ReadTable) => A
  ) => Effect.Effect<A, RuntimeError>
}

/** A folder of one request's own; gone when the scope closes. */
export const scratch: Effect.Effect<string, RuntimeError, Scope.Scope> = Effect.acquireRelease(
  Effect.tryPromise({
    try: () => mkdtemp(join(tmpdir(), "tessera-torch-")),
    catch: (cause) =>
      failed("Execution", `there is no place for scratch files in ${tmpdir()}: ${String(cause)}`, cause)
  }),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

export interface Loading {
  readonly folder: string
  readonly config: ModelConfig
  readonly device: DeviceKind
  readonly dtype: Dtype
}

/** Loads the model when it is first asked, and again where the worker was replaced; unloads it with the scope. */
export const make = (
  place: Place,
  { config, device, dtype, folder }: Loading
): Effect.Effect<Model, never, Scope.Scope> =>
  Effect.gen(function* () {
    let loaded: { readonly worker: Worker; readonly model: string } | undefined
    const one = yield* Effect.makeSemaphore(1)
    const current = Effect.gen(function* () {
      const worker = yield* place.worker
      if (loaded?.worker === worker) return loaded
      const { model } = yield* worker.ask("load", { folder, device, dtype })
      loaded = { worker, model }
      return loaded
    }).pipe(one.withPermits(1))
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        if (loaded === undefined || !(yield* loaded.worker.alive)) return
        yield* atMost(loaded.worker.ask("unload", { model: loaded.model }), "10 seconds")
      }).pipe(Effect.ignore)
    )
    return {
      config,
      ask: (method, params, input, take) =>
        Effect.gen(function* () {
          const { model, worker } = yield* current
          const files = yield* scratch
          const [from, to] = [join(files, "input.arrow"), join(files, "output.arrow")]
          yield* ArrowFiles.write(from, input)
          yield* worker.ask(method, { ...params, model, input: from, output: to } as never)
          return yield* ArrowFiles.read(to, take)
        }).pipe(Effect.scoped)
    }
  })
