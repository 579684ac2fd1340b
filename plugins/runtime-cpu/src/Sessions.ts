/**
 * ONNX Runtime sessions of the graphs, made when first used and released with the scope.
 */
import { availableParallelism } from "node:os"
import { type LlamaConfig, RuntimeError } from "@tessera/runtime"
import { Effect, Option, type Scope } from "effect"
import type { InferenceSession, Tensor } from "onnxruntime-common"
import type { Kind } from "./graphs/Emit.js"

export const NAME = "runtime-cpu"

const outOfMemory = (what: string, cause: unknown) =>
  new RuntimeError({
    reason: "OutOfMemory",
    runtime: NAME,
    detail: `not enough memory in ${what}; use shorter lengths or fewer executions at once (--concurrency 1)`,
    cause
  })

const failure = (what: string) => (cause: unknown) => {
  const text = cause instanceof Error ? cause.message : String(cause)
  if (/alloc|out of memory/i.test(text)) return outOfMemory(what, cause)
  return new RuntimeError({
    reason: "Execution",
    runtime: NAME,
    detail: `ONNX Runtime failed in ${what}: ${text}`,
    cause
  })
}

/** Makes JavaScript's own failures to allocate a `RuntimeError`: they are thrown, not returned. */
export const allocating =
  (what: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | RuntimeError, R> =>
    Effect.catchSomeDefect(effect, (defect) =>
      defect instanceof RangeError && /allocation failed|invalid typed array length/i.test(defect.message)
        ? Option.some(outOfMemory(what, defect))
        : Option.none()
    )

export type Feeds = Readonly<Record<string, Tensor>>

/** Float outputs of a run by name; `predicted` of `score` is int64. */
export interface Outputs {
  readonly float: (name: string) => Float32Array
  readonly int64: (name: string) => BigInt64Array
}

export interface Sessions {
  readonly run: (kind: Kind, feeds: Feeds) => Effect.Effect<Outputs, RuntimeError>
}

const typed = <A>(
  outputs: InferenceSession.OnnxValueMapType,
  name: string,
  type: new (...args: never) => A
): A => {
  const data = outputs[name]?.data
  if (data instanceof type) return data
  throw new Error(`the graph has no output ${name} of that type`)
}

export const make = (
  config: LlamaConfig,
  threads: number = availableParallelism()
): Effect.Effect<Sessions, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sessions = new Map<Kind, Promise<InferenceSession>>()
    // Imported when a model runs: a run that finds all results cached does without.
    const create = async (kind: Kind) => {
      const [{ InferenceSession }, { emit }] = await Promise.all([
        import("onnxruntime-node"),
        import("./graphs/Emit.js")
      ])
      return InferenceSession.create(emit(config, kind), {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: "sequential",
        // Idle threads of one session must not take the cores from another.
        extra: { session: { intra_op: { allow_spinning: "0" } } },
        logSeverityLevel: 3
      })
    }
    const session = (kind: Kind) => {
      const known = sessions.get(kind)
      if (known !== undefined) return known
      const made = create(kind)
      sessions.set(kind, made)
      return made
    }
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        for (const made of sessions.values()) await made.then((s) => s.release()).catch(() => undefined)
      })
    )
    return {
      // A run cannot be stopped; it is short, and the next one does not start.
      run: (kind, feeds) =>
        Effect.uninterruptible(
          Effect.tryPromise({
            try: async () => {
              const outputs = await (await session(kind)).run(feeds)
              return {
                float: (name: string) => typed(outputs, name, Float32Array),
                int64: (name: string) => typed(outputs, name, BigInt64Array)
              }
            },
            catch: failure(`graph ${kind}`)
          })
        )
    }
  })
