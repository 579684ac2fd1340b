/** The runtimes' suite finds what a bad runtime does wrong. */
import { NodeContext } from "@effect/platform-node"
import { demoModelPath } from "@tessera/demo"
import { type LoadedModel, ModelRuntime } from "@tessera/runtime"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { Effect, Exit, Layer, Stream } from "effect"
import { expect, it } from "vitest"
import { runtimeChecks } from "../src/index.js"
import { violations } from "./Outcomes.js"

const good = RuntimeCpu.layer({ threads: 1 }).pipe(Layer.provide(NodeContext.layer))
const checks = runtimeChecks({
  model: demoModelPath,
  tokens: Array.from({ length: 24 }, (_, i) => 3 + ((i * 7919) % 2500)),
  patience: "1 second"
})

const worse = (change: (good: LoadedModel) => Partial<LoadedModel>) =>
  Layer.effect(
    ModelRuntime,
    Effect.map(ModelRuntime, (runtime) =>
      ModelRuntime.of({
        ...runtime,
        load: (folder) => Effect.map(runtime.load(folder), (model) => ({ ...model, ...change(model) }))
      })
    )
  ).pipe(Layer.provide(good))

let counter = 0

it.each<readonly [string, RegExp, (good: LoadedModel) => Partial<LoadedModel>]>([
  [
    "scores otherwise each time",
    /bit by bit/,
    (model) => ({
      score: (request) =>
        Effect.map(model.score(request), (scores) =>
          scores.map((score) => ({ ...score, loss: score.loss.map((loss) => loss + counter++ / 1e6) }))
        )
    })
  ],
  [
    "generates the first prompt for all",
    /one prompt or several/,
    (model) => ({
      generate: (requests) =>
        Stream.flatMap(model.generate(requests.slice(0, 1)), (one) => Stream.make(...requests.map(() => one)))
    })
  ],
  [
    "sees only part of the prefix",
    /wherever the prefix ends/,
    (model) => ({ score: (request) => model.score({ ...request, prefix: request.prefix.slice(-8) }) })
  ],
  [
    "tells the sum of the losses for their mean",
    /from the scores/,
    (model) => ({
      influence: (request) =>
        Effect.map(model.influence(request), (result) => ({ ...result, loss: result.loss * 2 }))
    })
  ],
  [
    "takes means of blocks for their sums",
    /sums blocks/,
    (model) => ({
      influence: (request) =>
        Effect.map(model.influence(request), (result) => ({
          ...result,
          layers: result.layers.map((sums) => sums.map((sum) => sum / request.block ** 2))
        }))
    })
  ],
  [
    "gives influences the other sign",
    /dropping one entry/,
    (model) => ({
      influence: (request) =>
        Effect.map(model.influence(request), (result) => ({
          ...result,
          layers: result.layers.map((sums) => sums.map((sum) => (request.sum === "abs" ? sum : -sum)))
        }))
    })
  ],
  [
    "ends what it does before it heeds an interruption",
    /interrupted/,
    (model) => ({
      influence: (request) =>
        Effect.uninterruptible(Effect.zipLeft(model.influence(request), Effect.sleep("1500 millis")))
    })
  ],
  [
    "answers otherwise after an interruption",
    /interrupted/,
    (model) => {
      let interruptions = 0
      return {
        generate: (requests) =>
          Stream.ensuringWith(model.generate(requests), (exit) =>
            Effect.sync(() => void (interruptions += Exit.isInterrupted(exit) ? 1 : 0))
          ),
        score: (request) =>
          Effect.map(model.score(request), (scores) =>
            scores.map((score) => ({ ...score, loss: score.loss.map((loss) => loss + interruptions) }))
          )
      }
    }
  ],
  [
    "ignores the sink of windows",
    /for windows/,
    (model) => ({
      influence: ({ reduce, ...request }) =>
        model.influence({ ...request, ...(reduce && { reduce: { ...reduce, sink: 0 } }) })
    })
  ],
  [
    "sums the first item alone",
    /the sum of each/,
    (model) => ({ influenceSum: (items, options) => model.influenceSum(items.slice(0, 1), options) })
  ],
  [
    "dies of a wrong request",
    /refuses what it cannot do/,
    (model) => ({ influence: (request) => Effect.orDie(model.influence(request)) })
  ]
])("finds a runtime that %s", async (_, title, change) => {
  const provided = Object.entries(checks).map(([name, check]) => [name, Effect.provide(check, worse(change))])
  expect(Object.keys(await violations(Object.fromEntries(provided), title))).toHaveLength(1)
})
