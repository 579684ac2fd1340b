/**
 * The services of a pipeline: its own layer, built when a stage first needs it, over what the caller provides.
 */
import type { Pipeline, Targets } from "@tessera/core"
import { Context, Effect, Layer, type Scope } from "effect"
import { StageFailed } from "./Errors.js"

export interface Services<E> {
  /** Gives an effect of a stage the services it asked for. A layer that cannot be built fails the node that needs it. */
  readonly lend: <A, F>(
    at: { readonly node: string; readonly shard?: string },
    effect: Effect.Effect<A, F, unknown>
  ) => Effect.Effect<A, F | StageFailed<E>>
}

/** @param scope closes what the layer opened. */
export const make = <T extends Targets, E, R>(
  pipeline: Pipeline<T, E, R>,
  scope: Scope.Scope
): Effect.Effect<Services<E>, never, R> =>
  Effect.gen(function* () {
    const outer = yield* Effect.context<R>()
    // The types of a pipeline guarantee that R covers the layer, and R with the layer every stage in it.
    const layer = pipeline.layer as Layer.Layer<never, E, R>
    const own = yield* Effect.cached(
      Effect.map(Effect.provide(Layer.buildWithScope(layer, scope), outer), (built) =>
        Context.merge(outer, built)
      )
    )
    return {
      lend: (at, effect) =>
        own.pipe(
          Effect.mapError((cause) => new StageFailed<E>({ ...at, cause })),
          Effect.flatMap((services) => Effect.provide(effect, services as Context.Context<unknown>))
        )
    }
  })
