/**
 * What this machine lends to a run, unless the run says otherwise.
 */
import { readdir } from "node:fs/promises"
import { availableParallelism, totalmem } from "node:os"
import { Effect } from "effect"
import type { RunOptions } from "./Engine.js"
import type { Capacity } from "./Slots.js"

/** The GPUs that this process may use: CUDA_VISIBLE_DEVICES, else those that the NVIDIA driver lists. */
const gpus: Effect.Effect<ReadonlyArray<string>> = Effect.suspend(() => {
  const visible = process.env["CUDA_VISIBLE_DEVICES"]
  if (visible !== undefined) {
    const names = visible.split(",").map((name) => name.trim())
    // CUDA itself stops at the first entry that is no device.
    const end = names.findIndex((name) => name === "" || name === "-1")
    return Effect.succeed(end < 0 ? names : names.slice(0, end))
  }
  return Effect.tryPromise(() => readdir("/proc/driver/nvidia/gpus")).pipe(
    Effect.map((found) => found.map((_, i) => String(i))),
    Effect.orElseSucceed(() => [])
  )
})

const names = (slots: number | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof slots === "number" ? Array.from({ length: Math.max(0, slots) }, (_, i) => String(i)) : slots

export const capacity = (options: RunOptions): Effect.Effect<Capacity> =>
  Effect.map(options.slots?.["gpu"] === undefined ? gpus : Effect.succeed([]), (found) => ({
    cpu: Math.max(1, options.concurrency ?? availableParallelism()),
    memory: options.memory ?? totalmem(),
    slots: {
      ...(found.length === 0 ? {} : { gpu: found }),
      ...Object.fromEntries(Object.entries(options.slots ?? {}).map(([name, slots]) => [name, names(slots)]))
    }
  }))
