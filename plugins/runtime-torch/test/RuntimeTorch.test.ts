/** What the layer makes of workers: which GPUs they see, and what stages learn of them. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeContext } from "@effect/platform-node"
import { CurrentTask } from "@tessera/core"
import { ModelRuntime } from "@tessera/runtime"
import { Effect, Layer, type Scope } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { demoModelPath } from "@tessera/demo"
import { RuntimeTorch } from "../src/index.js"

const folder = mkdtempSync(join(tmpdir(), "tessera-runtime-torch-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const fake = fileURLToPath(new URL("fakeWorker.mjs", import.meta.url))
let count = 0
/** A program that takes the interpreter's place, and notes with what it was started. */
const interpreter = (scenario: string) => {
  const [program, notes] = [join(folder, `python-${++count}`), join(folder, `notes-${count}`)]
  writeFileSync(
    program,
    `#!/bin/sh\necho "$* gpus=$CUDA_VISIBLE_DEVICES threads=$OMP_NUM_THREADS secret=$SECRET" >> ${notes}\nexec ${process.execPath} ${fake} "${scenario}"\n`
  )
  chmodSync(program, 0o755)
  return { program, started: () => (existsSync(notes) ? readFileSync(notes, "utf8").trim().split("\n") : []) }
}

const on = <A, E>(
  options: RuntimeTorch.Options,
  effect: Effect.Effect<A, E, ModelRuntime | Scope.Scope>
): Promise<A> =>
  effect.pipe(
    Effect.scoped,
    Effect.provide(RuntimeTorch.layer(options).pipe(Layer.provide(NodeContext.layer))),
    Effect.runPromise
  )

/** As in a task of the engine that holds these GPUs. */
const holding =
  (...gpu: ReadonlyArray<string>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideService(effect, CurrentTask, {
      scratch: folder,
      slots: gpu.length === 0 ? {} : { gpu },
      report: () => Effect.void
    })

/** Opens the model and has it loaded. */
const load = Effect.gen(function* () {
  const runtime = yield* ModelRuntime
  const model = yield* runtime.load(demoModelPath)
  yield* Effect.exit(model.score({ prefix: [1], continuations: [[2]] }))
})

describe("the layer", () => {
  it("gives each set of GPUs a worker that sees no others, and no variable that a shell happened to have", async () => {
    const { program, started } = interpreter("good")
    process.env["SECRET"] = "1"
    await on(
      { python: program, threads: 3 },
      Effect.gen(function* () {
        yield* holding("1")(load)
        yield* holding("0")(load)
        yield* holding("1")(load)
        yield* holding("2", "3")(load)
      })
    )
    delete process.env["SECRET"]
    const start = "-m tessera_worker --device auto"
    expect(started()).toEqual(["1", "0", "2,3"].map((gpus) => `${start} gpus=${gpus} threads=3 secret=`))
  })

  it("hides all GPUs from a worker on the CPU", async () => {
    const { program, started } = interpreter("good")
    await on({ python: program, threads: 2, device: "cpu" }, load)
    expect(started()).toEqual(["-m tessera_worker --device cpu gpus= threads=2 secret="])
  })

  it("asks for cores on a CPU and for GPUs on CUDA, and names what decides results", async () => {
    const asked = (options: RuntimeTorch.Options) =>
      on(
        options,
        Effect.flatMap(ModelRuntime, ({ fingerprint, resources }) => Effect.all({ fingerprint, resources }))
      )
    const cpu = await asked({ python: interpreter("good").program, threads: 5 })
    expect(cpu.resources).toEqual({ cpu: 5 })
    expect(cpu.fingerprint).toMatchObject({
      facts: {
        runtime: "runtime-torch",
        torch: "2.11.0",
        transformers: "5.24.0",
        triton: "none",
        dtype: "auto"
      },
      device: { threads: "5" }
    })
    expect(cpu.fingerprint.assets?.map(String)).toEqual([new URL("../worker/src/", import.meta.url).href])
    const cuda = await asked({ python: interpreter("gpus").program, gpus: 2, dtype: "bfloat16" })
    expect(cuda.resources).toEqual({ cpu: 1, gpu: 2 })
    expect(cuda.fingerprint).toMatchObject({
      facts: { dtype: "bfloat16" },
      device: { gpu: "NVIDIA H200 (9.0)", cuda: "13.0", cudnn: "91900", gpus: "2" }
    })
    expect(cuda.fingerprint.device).not.toHaveProperty("threads")
    const forced = await asked({ python: interpreter("gpus").program, device: "cpu", threads: 1 })
    expect(forced.resources).toEqual({ cpu: 1 })
  })

  it("fails with what to do where there is no such Python", async () => {
    const error = await on(
      { python: join(folder, "no-python") },
      Effect.flip(Effect.flatMap(ModelRuntime, ({ fingerprint }) => fingerprint))
    )
    expect(error).toMatchObject({ _tag: "RuntimeError", reason: "Unavailable" })
    expect(error.message).toMatch(/no-python cannot be started.*tessera doctor --install torch/s)
  })
})
