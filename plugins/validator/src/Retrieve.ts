/**
 * Judges answers as LongEval does: the model writes freely, and the last whole number that it writes is its answer.
 */
import type { Plan } from "@tessera/attention"
import type { LoadedModel, RuntimeError } from "@tessera/runtime"
import { Chunk, Effect, Stream } from "effect"
import type { Sequence } from "./Measure.js"

/** The last whole number in a text, or undefined. */
export const lastNumber = (text: string): string | undefined => text.match(/\d+/g)?.at(-1)

/**
 * Whether each sequence's answer is the last number of what the model writes under the plan. The prompts go to the runtime
 * together, which may batch them.
 */
export const retrieves = (
  { generate, tokenizer }: LoadedModel,
  plan: Plan | undefined,
  sequences: ReadonlyArray<Sequence>,
  maxNewTokens: number
): Effect.Effect<ReadonlyArray<boolean>, RuntimeError> =>
  Effect.map(
    Stream.runCollect(
      generate(
        sequences.map(({ all, answer }) => ({
          prompt: all.slice(0, all.length - answer),
          maxNewTokens,
          ...(plan === undefined ? {} : { plan })
        }))
      )
    ),
    (generations) => {
      const written = Chunk.toReadonlyArray(generations)
      return sequences.map(({ all, answer }, i) => {
        const wanted = lastNumber(tokenizer.decode(all.slice(all.length - answer)))
        return wanted !== undefined && lastNumber(tokenizer.decode(written[i]?.tokens ?? [])) === wanted
      })
    }
  )
