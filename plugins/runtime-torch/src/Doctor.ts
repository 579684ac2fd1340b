/**
 * Whether PyTorch can be used here, and what to do where it cannot: asked by `tessera doctor`.
 */
import { readdir, readFile } from "node:fs/promises"
import type { Progress } from "@tessera/core"
import { Effect, Either } from "effect"
import { basePython, makeEnvironment } from "./Environment.js"
import type { EnvironmentError } from "./Errors.js"
import * as Interpreter from "./Interpreter.js"
import { startWorker } from "./RuntimeTorch.js"

export interface Check {
  readonly name: string
  /** `none`: something optional that is not there. */
  readonly status: "ok" | "none" | "failed"
  /** What was found. */
  readonly found: string
  /** What to do. */
  readonly hint?: string
}

/** NVIDIA GPUs that the driver lists, by name. */
const gpus: Effect.Effect<ReadonlyArray<string>> = Effect.promise(async () => {
  const root = "/proc/driver/nvidia/gpus"
  const found = await readdir(root).catch(() => [])
  return Promise.all(
    found.map(async (name) => {
      const text = await readFile(`${root}/${name}/information`, "utf8").catch(() => "")
      return /^Model:\s*(.*)$/m.exec(text)?.[1] ?? "NVIDIA GPU"
    })
  )
})

const origins: Readonly<Record<Interpreter.Interpreter["origin"], string>> = {
  variable: "TESSERA_PYTHON",
  environment: "made by tessera doctor",
  path: "PATH"
}

/** Starts a worker, and ends it when it has greeted. */
export const checks: Effect.Effect<ReadonlyArray<Check>> = Effect.gen(function* () {
  const cards = yield* gpus
  const interpreter = yield* Interpreter.find
  const worker = yield* Effect.either(
    Effect.scoped(
      Effect.map(startWorker({ patience: { greeting: "2 minutes" } }, undefined), ({ hello }) => hello)
    )
  )
  const gpu: Check =
    cards.length === 0
      ? { name: "GPU", status: "none", found: "no NVIDIA GPU; models run on the CPU" }
      : { name: "GPU", status: "ok", found: cards.join(", ") }
  const python: Check = {
    name: "Python",
    status: "ok",
    found: `${interpreter.path} (${origins[interpreter.origin]})`
  }
  if (Either.isLeft(worker))
    return [
      gpu,
      python,
      {
        name: "PyTorch worker",
        status: "failed",
        found: worker.left.detail,
        hint: "tessera doctor --install torch"
      }
    ]
  const hello = worker.right
  return [
    gpu,
    { ...python, found: `${python.found}, ${hello.python}` },
    {
      name: "packages",
      status: "ok",
      found: `torch ${hello.torch}, transformers ${hello.transformers}, triton ${hello.triton ?? "none"}`
    },
    cards.length > 0 && hello.devices.length === 0
      ? {
          name: "PyTorch worker",
          status: "failed",
          found: `version ${hello.worker}; PyTorch sees no GPU though the driver lists ${cards.length}`,
          hint: "Check the driver's version and CUDA_VISIBLE_DEVICES, or install PyTorch for CUDA: tessera doctor --install torch"
        }
      : {
          name: "PyTorch worker",
          status: "ok",
          found: `version ${hello.worker}, ${
            hello.devices.length === 0
              ? "on the CPU"
              : `CUDA ${hello.cuda}, cuDNN ${hello.cudnn}, ${hello.devices.length} GPU${hello.devices.length === 1 ? "" : "s"}`
          }`
        }
  ]
})

/** Makes the environment that the worker then runs in: for CUDA where there is a GPU. Answers its interpreter. */
export const install = (
  report: (progress: Progress) => Effect.Effect<void>
): Effect.Effect<string, EnvironmentError> =>
  Effect.gen(function* () {
    const cuda = (yield* gpus).length > 0
    const base = yield* basePython
    return yield* makeEnvironment(
      {
        lock: cuda ? Interpreter.locks.cuda : Interpreter.locks.cpu,
        modules: ["torch", "transformers", "pyarrow", "safetensors", "accelerate"],
        bytes: cuda ? 10e9 : 6e9
      },
      base,
      report
    )
  })
