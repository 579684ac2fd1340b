/**
 * The model runtime on PyTorch: a Python worker per GPU, or one on the CPU.
 */
import { realpath } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import {
  instructionSet,
  type LoadedModel,
  type ModelError,
  ModelRuntime,
  openConfig,
  openTokenizer,
  type RuntimeError
} from "@tessera/runtime"
import { Context, Effect, Layer, RcMap, type Scope } from "effect"
import { cleanEnvironment } from "./ChildProcess.js"
import { bytecodeFolder } from "./Environment.js"
import { NAME } from "./Errors.js"
import * as Interpreter from "./Interpreter.js"
import * as Model from "./Model.js"
import type { DeviceKind, Dtype, Hello } from "./Protocol.js"
import * as Requests from "./Requests.js"
import * as Worker from "./Worker.js"
import * as Workers from "./Workers.js"

export interface Options {
  /** `auto`: CUDA where PyTorch finds it. Default: `auto`. */
  readonly device?: DeviceKind
  /** What the model computes in. `auto`: bfloat16 on CUDA, float32 on a CPU. Default: `auto`. */
  readonly dtype?: Dtype
  /** GPUs of one execution: more than one where a model is too large for one. Default: 1. */
  readonly gpus?: number
  /** Threads of a worker on the CPU. Default: the number of cores. */
  readonly threads?: number
  /** How long a worker may be silent. */
  readonly patience?: Worker.Patience
  /** The Python that runs the worker. Default: TESSERA_PYTHON, else the environment of `tessera doctor`, else python3. */
  readonly python?: string
}

const threadsOf = ({ threads = availableParallelism() }: Options): number => threads

/** A worker's variables: what decides results is set here, not inherited. */
const environment = (options: Options, devices: string | undefined): Record<string, string> => {
  const inherited = cleanEnvironment()
  const visible = options.device === "cpu" ? "" : (devices ?? inherited["CUDA_VISIBLE_DEVICES"])
  return {
    ...inherited,
    ...(visible === undefined ? {} : { CUDA_VISIBLE_DEVICES: visible }),
    PYTHONPATH: fileURLToPath(Interpreter.sources),
    PYTHONPYCACHEPREFIX: bytecodeFolder(),
    PYTHONUNBUFFERED: "1",
    OMP_NUM_THREADS: String(threadsOf(options)),
    MKL_NUM_THREADS: String(threadsOf(options))
  }
}

/** Starts a worker that sees these GPUs; all of them where undefined. */
export const startWorker = (
  options: Options,
  devices: string | undefined
): Effect.Effect<Worker.Worker, RuntimeError, Scope.Scope> =>
  Effect.gen(function* () {
    const program = options.python ?? (yield* Interpreter.find).path
    return yield* Worker.start({
      program,
      args: ["-m", "tessera_worker", "--device", options.device ?? "auto"],
      // Python looks for modules in its working folder first.
      cwd: fileURLToPath(Interpreter.sources),
      env: environment(options, devices),
      patience: options.patience ?? {}
    })
  })

const onCuda = ({ device }: Options, hello: Hello): boolean => device !== "cpu" && hello.devices.length > 0

const fingerprintOf = (options: Options, hello: Hello) => ({
  facts: {
    runtime: NAME,
    torch: hello.torch,
    transformers: hello.transformers,
    triton: hello.triton ?? "none",
    dtype: options.dtype ?? "auto",
    attention: "tessera"
  },
  modules: [import.meta.url],
  assets: [Interpreter.sources],
  device: onCuda(options, hello)
    ? {
        // GPUs of a kind give the same results, however many of them there are.
        gpu: [...new Set(hello.devices.map(({ name, capability }) => `${name} (${capability})`))]
          .sort()
          .join(", "),
        cuda: hello.cuda ?? "none",
        cudnn: hello.cudnn ?? "none",
        gpus: String(options.gpus ?? 1)
      }
    : { cpu: instructionSet(), threads: String(threadsOf(options)) }
})

const load = (
  folder: string,
  options: Options,
  place: Workers.Place
): Effect.Effect<LoadedModel, ModelError | RuntimeError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.gen(function* () {
    const config = yield* openConfig(folder)
    const tokenizer = yield* openTokenizer(folder)
    const model = yield* Model.make(place, {
      // The worker has a working folder of its own.
      folder: yield* Effect.promise(() => realpath(folder)),
      config,
      device: options.device ?? "auto",
      dtype: options.dtype ?? "auto"
    })
    return {
      config,
      tokenizer,
      generate: (requests) => Requests.generate(model, requests),
      score: (request) => Requests.score(model, request),
      influence: (request) => Requests.influence(model, [request], request),
      influenceSum: (items, options) => Requests.influence(model, items, options)
    }
  })

/** Provides `ModelRuntime` by PyTorch. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelRuntime | Workers.TorchWorkers, never, FileSystem.FileSystem | Path.Path> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
      const workers = yield* Workers.make((devices) => startWorker(options, devices))
      const models = yield* RcMap.make({
        lookup: (key: string) => {
          const [devices = "", folder = ""] = key.split("\0")
          return Effect.provide(
            Effect.flatMap(workers.at(devices), (place) => load(folder, options, place)),
            context
          )
        },
        idleTimeToLive: "1 minute"
      })
      return Context.make(Workers.TorchWorkers, workers).pipe(
        Context.add(
          ModelRuntime,
          ModelRuntime.of({
            fingerprint: Effect.map(workers.hello, (hello) => fingerprintOf(options, hello)),
            resources: Effect.map(workers.hello, (hello) =>
              onCuda(options, hello) ? { cpu: 1, gpu: options.gpus ?? 1 } : { cpu: threadsOf(options) }
            ),
            load: (folder) =>
              Effect.flatMap(Workers.taskDevices, (devices) => RcMap.get(models, `${devices}\0${folder}`))
          })
        )
      )
    })
  )
