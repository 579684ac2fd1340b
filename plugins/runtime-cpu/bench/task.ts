/**
 * One measurement in a process of its own, so that its peak memory is its own:
 * `tsx task.ts MODEL prefill|decode|influence LENGTH THREADS REPEATS`.
 */
import { NodeContext } from "@effect/platform-node"
import { type LoadedModel, ModelRuntime } from "@tessera/runtime"
import { Duration, Effect, Stream } from "effect"
import { RuntimeCpu } from "../src/index.js"

const [folder = "", task = "", ...numbers] = process.argv.slice(2)
const [length = 0, threads = 1, repeats = 1] = numbers.map(Number)
// Many: the time of a long prompt, which is taken off, varies by more than a few tokens take.
const NEW = 256

const tokensOf = (model: LoadedModel): ReadonlyArray<number> =>
  Array.from({ length }, (_, i) => (i * 7919) % model.config.vocabulary)

const seconds = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.timed(effect).pipe(Effect.map(([duration]) => Duration.toSeconds(duration)))

/** Tokens per second of one repeat. */
const measure = (model: LoadedModel) => {
  const tokens = tokensOf(model)
  const generate = (maxNewTokens: number) =>
    Stream.runDrain(model.generate([{ prompt: tokens, maxNewTokens, stop: [] }]))
  switch (task) {
    case "prefill":
      return Effect.map(
        seconds(model.score({ prefix: tokens, continuations: [tokens.slice(0, 1)] })),
        (time) => length / time
      )
    case "decode":
      // The prompt's time is taken off.
      return Effect.gen(function* () {
        const prompt = yield* seconds(generate(1))
        return NEW / ((yield* seconds(generate(NEW + 1))) - prompt)
      })
    case "influence":
      return Effect.map(
        seconds(
          model.influence({
            tokens,
            mask: tokens.map((_, i) => i >= length - length / 8),
            objective: "cross-entropy",
            block: 16,
            sum: "signed"
          })
        ),
        (time) => length / time
      )
    default:
      return Effect.dieMessage(`no task ${task}`)
  }
}

const program = Effect.gen(function* () {
  const model = yield* Effect.flatMap(ModelRuntime, (runtime) => runtime.load(folder))
  if (repeats > 1) yield* measure(model)
  const rates = yield* Effect.replicateEffect(measure(model), repeats)
  const peakMiB = process.resourceUsage().maxRSS / 1024
  console.log(JSON.stringify({ tokensPerSecond: Math.max(...rates), peakMiB }))
})

await program.pipe(
  Effect.scoped,
  Effect.provide(RuntimeCpu.layer({ threads })),
  Effect.provide(NodeContext.layer),
  Effect.runPromise
)
