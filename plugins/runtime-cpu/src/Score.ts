/**
 * Loss and greedy prediction per token of continuations that share a prefix.
 */
import { checkScore, type RuntimeError, type Score, type ScoreRequest } from "@tessera/runtime"
import { Effect } from "effect"
import { type Executor, split } from "./Executor.js"
import { extend } from "./Extend.js"
import { prefill } from "./Forward.js"
import * as KvCache from "./KvCache.js"
import { NAME } from "./Sessions.js"
import { floats, int64s } from "./Tensors.js"
import * as Windows from "./Windows.js"

/** Tokens of a continuation that go through the model at once. */
const CONTINUED = 256

/** Rows whose logits are computed at once: at most this many numbers. */
const LOGITS = 1 << 25

/** Loss and prediction of labels, given the rows that predict them [labels, hidden]. */
const scoreRows = (
  { config, sessions, weights }: Executor,
  x: Float32Array,
  labels: ReadonlyArray<number>
): Effect.Effect<Score, RuntimeError> =>
  Effect.gen(function* () {
    const loss = new Float32Array(labels.length)
    const predicted = new Int32Array(labels.length)
    const size = Math.max(1, Math.floor(LOGITS / config.vocabulary))
    for (let from = 0; from < labels.length; from += size) {
      const part = labels.slice(from, from + size)
      const outputs = yield* sessions.run("score", {
        x: floats(x.subarray(from * config.hidden, (from + part.length) * config.hidden), [
          part.length,
          config.hidden
        ]),
        labels: int64s(part, [part.length, 1]),
        ...weights.head
      })
      loss.set(outputs.float("loss"), from)
      predicted.set(Array.from(outputs.int64("predicted"), Number), from)
    }
    return { loss, predicted }
  })

export const score = (
  executor: Executor,
  request: ScoreRequest
): Effect.Effect<ReadonlyArray<Score>, RuntimeError> =>
  Effect.gen(function* () {
    const { prefix, continuations, plan, length } = request
    const { hidden } = executor.config
    const longest = Math.max(0, ...continuations.map((tokens) => tokens.length))
    yield* checkScore(NAME, executor.config, request)
    const windows = yield* Windows.make(executor.config, plan, length ?? prefix.length + longest)
    const cache = KvCache.make(executor.config, prefix.length + longest)
    const last = (yield* prefill(executor, prefix, cache, windows, prefix.length - 1)).slice(-hidden)
    return yield* Effect.forEach(continuations, (tokens) =>
      Effect.gen(function* () {
        const labels = Array.from(tokens)
        const x = new Float32Array(labels.length * hidden)
        if (labels.length === 0) return { loss: new Float32Array(0), predicted: new Int32Array(0) }
        x.set(last)
        for (const [from, to] of split(0, labels.length - 1, CONTINUED)) {
          const y = yield* extend(executor, labels.slice(from, to), cache, windows)
          x.set(y, (from + 1) * hidden)
          cache.length += to - from
        }
        // The next continuation overwrites this one's keys.
        cache.length = prefix.length
        return yield* scoreRows(executor, x, labels)
      })
    )
  })
