/** The embedded runtime and PyTorch, which share no code, compute the same: on the demo model, and on SmolLM2-135M. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeContext } from "@effect/platform-node"
import { Model } from "@tessera/attention"
import { uniformPlan } from "@tessera/baseline-streaming-llm"
import { pipeline, source } from "@tessera/core"
import { demoModelPath } from "@tessera/demo"
import { run } from "@tessera/engine"
import { attentionShape, type InfluenceOptions, type LoadedModel, ModelRuntime } from "@tessera/runtime"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { GgufFile, importGguf, RuntimeTorch } from "@tessera/runtime-torch"
import { FileStore, Store } from "@tessera/store"
import { Chunk, Effect, Layer, Stream } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { smolLm2 } from "../python/SmolLm2.js"
import { torchPython } from "../python/Torch.js"

const python = await torchPython("runtime-cpu and runtime-torch are not compared")
const gguf =
  python === undefined ? undefined : await smolLm2(python, "the runtimes are not compared on SmolLM2")

const root = mkdtempSync(join(tmpdir(), "tessera-agreement-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const cpu = RuntimeCpu.layer({ threads: 2 }).pipe(Layer.provide(NodeContext.layer))
const torch = RuntimeTorch.layer({
  device: "cpu",
  dtype: "float32",
  threads: 2,
  ...(python === undefined ? {} : { python })
}).pipe(Layer.provide(NodeContext.layer))

/** What both runtimes answer. */
const both = <A, E>(folder: string, ask: (model: LoadedModel) => Effect.Effect<A, E>) =>
  Effect.runPromise(
    Effect.forEach([cpu, torch], (layer) =>
      Effect.flatMap(ModelRuntime, (runtime) => Effect.flatMap(runtime.load(folder), ask)).pipe(
        Effect.scoped,
        Effect.provide(layer)
      )
    )
  ).then(([first, second]) => {
    if (first === undefined || second === undefined) throw new Error("there are two runtimes")
    return [first, second] as const
  })

/** Everything at once: a runtime loads its model once. Of a larger model one kind of influence has to do. */
const compare = (
  folder: () => Promise<string>,
  text: string,
  block: number,
  kinds: "all" | "abs" = "all"
) => {
  let answers: ReturnType<typeof ask> | undefined
  const asked = () => (answers ??= ask())
  const ask = async () =>
    both(await folder(), (model) =>
      Effect.gen(function* () {
        const tokens = model.tokenizer.encode(text)
        const half = tokens.length >> 1
        const [prefix, rest] = [tokens.slice(0, half), tokens.slice(half)]
        const plan = uniformPlan(attentionShape(model.config), {
          density: 0.5,
          geometry: { block, sink: block, minWindow: 1 },
          name: "half",
          length: "prompt+new"
        })
        const influence = (sum: "signed" | "abs", reduce?: InfluenceOptions["reduce"]) =>
          model.influence({
            tokens,
            mask: tokens.map((_, i) => i >= half),
            objective: sum === "abs" ? "cross-entropy" : "log-odds",
            block,
            sum,
            ...(reduce && { reduce })
          })
        return {
          tokens,
          heads: model.config.queryHeads,
          scores: yield* Effect.forEach([{}, { plan }], (options) =>
            model.score({ prefix, continuations: [rest, rest.slice(0, 3)], ...options })
          ),
          generated: yield* Stream.runCollect(
            model.generate([
              { prompt: prefix, maxNewTokens: 12 },
              { prompt: prefix, maxNewTokens: 12, plan }
            ])
          ),
          abs: yield* influence("abs"),
          others:
            kinds === "abs"
              ? undefined
              : {
                  signed: yield* influence("signed"),
                  scale: yield* model.influence({
                    tokens,
                    mask: tokens.map((_, i) => i >= half),
                    objective: "log-odds",
                    block,
                    sum: "abs"
                  }),
                  windows: yield* influence("abs", { kind: "windows", sink: block })
                }
        }
      })
    )

  it("tokens, losses within 1e-3 nats and greedy predictions, dense and under a plan", async () => {
    const [a, b] = await asked()
    expect(b.tokens).toEqual(a.tokens)
    a.scores.flat().forEach((score, i) => {
      const other = b.scores.flat()[i]
      expect(score.loss.length).toBeGreaterThan(0)
      expect(other?.loss).toHaveLength(score.loss.length)
      score.loss.forEach((loss, t) =>
        expect(Math.abs(loss - (other?.loss[t] ?? Number.NaN))).toBeLessThan(1e-3 * Math.max(1, loss))
      )
      expect([...(other?.predicted ?? [])]).toEqual([...score.predicted])
    })
    expect(a.scores[0]?.[0]?.loss).not.toEqual(a.scores[1]?.[0]?.loss)
  })

  it("generations", async () => {
    const [a, b] = await asked()
    expect(Chunk.toReadonlyArray(b.generated)).toEqual(Chunk.toReadonlyArray(a.generated))
  })

  it("influences, within 1e-4 of the |E| of their block", async () => {
    const [a, b] = await asked()
    const others =
      a.others === undefined || b.others === undefined
        ? []
        : ([
            ["signed", b.others.signed, a.others.signed, a.others.scale],
            ["windows", b.others.windows, a.others.windows, a.others.windows]
          ] as const)
    for (const [what, found, wanted, scale] of [["abs", b.abs, a.abs, a.abs] as const, ...others]) {
      expect(Math.abs(found.loss - wanted.loss)).toBeLessThan(1e-3)
      expect([found.blocks, found.layers.length]).toEqual([wanted.blocks, wanted.layers.length])
      wanted.layers.forEach((values, layer) => {
        const sizes = scale.layers[layer] ?? new Float32Array(0)
        // What float32 cannot tell from nothing beside the layer's largest blocks.
        const floor = 1e-5 * Math.max(...sizes)
        values.forEach((value, i) => {
          const error = Math.abs(value - (found.layers[layer]?.[i] ?? Number.NaN))
          expect(error, `${what}, layer ${layer}, value ${i} of ${value}`).toBeLessThanOrEqual(
            1e-4 * Math.abs(sizes[i] ?? 0) + floor
          )
        })
      })
    }
  })
}

describe.skipIf(python === undefined)(
  "the two runtimes agree on the demo model in",
  { timeout: 300_000 },
  () => {
    compare(
      () => Promise.resolve(demoModelPath),
      "News from Calaby. It rained for three days, and ".repeat(6),
      16
    )
  }
)

/** The GGUF file as a model folder, made once by the stage that users have. */
const imported = async (file: string): Promise<string> => {
  const store = FileStore.layer({ root: join(root, "store") })
  const made = pipeline("import", {
    model: importGguf({ gguf: source(GgufFile, file) }, { dtype: "float32" }).model
  })
  return Effect.gen(function* () {
    const { model } = (yield* run(made)).targets
    if (model === undefined) return yield* Effect.dieMessage("the run made no model")
    return (yield* Effect.flatMap(Store, (store) => store.open(Model, model))).path
  }).pipe(Effect.scoped, Effect.provide(Layer.merge(torch, store)), Effect.runPromise)
}

describe.skipIf(gguf === undefined)("the two runtimes agree on SmolLM2-135M in", { timeout: 600_000 }, () => {
  compare(
    () => imported(gguf ?? ""),
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\nThe sky appears blue because of a phenomenon called Rayleigh scattering, by which short wavelengths of sunlight are scattered more than long ones.<|im_end|>\n",
    16,
    "abs"
  )
})
