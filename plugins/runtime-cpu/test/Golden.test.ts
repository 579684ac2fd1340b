/** Against numbers that transformers computed (golden/make.py). */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { openModelFolder } from "@tessera/runtime"
import { Effect, Schema } from "effect"
import { expect, it } from "vitest"
import { prefill } from "../src/Forward.js"
import * as KvCache from "../src/KvCache.js"
import * as LoadedWeights from "../src/LoadedWeights.js"
import * as Rope from "../src/Rope.js"
import * as Sessions from "../src/Sessions.js"
import { rows } from "../src/Tensors.js"
import { loadFolder, run } from "./TinyModel.js"

const Golden = Schema.parseJson(
  Schema.Struct({
    prompt: Schema.String,
    ids: Schema.Array(Schema.Int),
    loss: Schema.Array(Schema.Number),
    predicted: Schema.Array(Schema.Int),
    logits: Schema.Array(Schema.Struct({ position: Schema.Int, values: Schema.Array(Schema.Number) }))
  })
)
const golden = Schema.decodeSync(Golden)(readFileSync(new URL("golden/demo.json", import.meta.url), "utf8"))
const demo = fileURLToPath(new URL("../../../packages/demo/model", import.meta.url))

const largestDifference = (got: ArrayLike<number>, wanted: ReadonlyArray<number>): number => {
  expect(got).toHaveLength(wanted.length)
  return wanted.reduce((worst, value, i) => Math.max(worst, Math.abs((got[i] ?? Number.NaN) - value)), 0)
}

it("encodes and scores as transformers does", async () => {
  const [ids, score] = await run(
    Effect.gen(function* () {
      const model = yield* loadFolder(demo)
      const { ids } = golden
      const [score] = yield* model.score({ prefix: ids.slice(0, 1), continuations: [ids.slice(1)] })
      return [model.tokenizer.encode(golden.prompt), score] as const
    })
  )
  expect(ids).toEqual(golden.ids)
  expect(largestDifference(score?.loss ?? [], golden.loss)).toBeLessThan(1e-4)
  expect([...(score?.predicted ?? [])]).toEqual(golden.predicted)
})

it("computes transformers' logits", async () => {
  await run(
    Effect.gen(function* () {
      const model = yield* openModelFolder(demo)
      const { config } = model
      const sessions = yield* Sessions.make(config, 1)
      const weights = yield* LoadedWeights.load(model)
      const executor = { config, sessions, weights, rope: Rope.make(config), scoreMemory: 0 }
      const cache = KvCache.make(config, golden.ids.length)
      const x = yield* prefill(executor, golden.ids, cache, undefined, 0)
      expect(golden.logits).toHaveLength(3)
      for (const { position, values } of golden.logits) {
        const feeds = { x: rows(x, config.hidden, position, position + 1), ...weights.head }
        const logits = (yield* sessions.run("logits", feeds)).float("logits")
        expect(largestDifference(logits, values)).toBeLessThan(1e-3)
      }
    })
  )
})
