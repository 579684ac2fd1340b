/**
 * A pipeline: named targets, the parameters it is built from, and the services it was given.
 */
import { Either, Layer, ParseResult, Schema, type Types } from "effect"
import { GraphError } from "./Errors.js"
import type { Edge } from "./Graph.js"
import type { Ref } from "./Ref.js"

export type Targets = Readonly<Record<string, Ref.Any>>

export interface Pipeline<out T extends Targets, out E, out R> {
  readonly name: string
  readonly params: Schema.Schema.AnyNoContext
  /** Builds the graph from parameters as the user wrote them. */
  readonly build: (params: unknown) => Either.Either<T, GraphError>
  /** Everything provided so far. */
  readonly layer: Layer.Layer<never, unknown, unknown>
  readonly _: { readonly _E: Types.Covariant<E>; readonly _R: Types.Covariant<R> }
}

export declare namespace Pipeline {
  type Any = Pipeline<Targets, unknown, unknown>
  /** A pipeline whose every service has been provided. */
  type Runnable = Pipeline<Targets, unknown, never>
}

const variance = { _E: (e: never) => e, _R: (r: never) => r }
const NoParams = Schema.Struct({})

/**
 * Names the refs to compute. With parameters, `build` is called with them decoded, defaults applied:
 *
 * ```ts
 * pipeline("moa", Schema.Struct({ density: Schema.optionalWith(Schema.Number, { default: () => 0.5 }) }),
 *   ({ density }) => ({ plan: ... }))
 * ```
 */
export const pipeline: {
  <const T extends Targets>(
    name: string,
    targets: T
  ): Pipeline<T, Ref.Error<T[keyof T]>, Ref.Context<T[keyof T]>>
  <P, PI, const T extends Targets>(
    name: string,
    params: Schema.Schema<P, PI>,
    build: (params: P) => T
  ): Pipeline<T, Ref.Error<T[keyof T]>, Ref.Context<T[keyof T]>>
} = (name: string, ...rest: ReadonlyArray<unknown>): never => {
  const [params, build] =
    rest.length === 1
      ? [NoParams, () => rest[0] as Targets]
      : (rest as unknown as readonly [Schema.Schema.AnyNoContext, (params: unknown) => Targets])
  const decode = Schema.decodeUnknownEither(params, { onExcessProperty: "error", errors: "all" })
  return {
    name,
    params,
    build: (input: unknown) =>
      Either.map(
        Either.mapLeft(
          decode(input),
          (error) =>
            new GraphError({
              reason: "InvalidParameter",
              where: `pipeline ${name}`,
              detail: ParseResult.TreeFormatter.formatErrorSync(error)
            })
        ),
        build
      ),
    layer: Layer.empty,
    _: variance
  } as never
}

/** Gives the pipeline services. What remains in `R` must be provided by whoever runs it. */
export const provide = <T extends Targets, E, R, A, LE, LR>(
  self: Pipeline<T, E, R>,
  layer: Layer.Layer<A, LE, LR>
): Pipeline<T, E | LE, Exclude<R, A> | LR> => ({
  ...self,
  layer: Layer.merge(self.layer, layer) as Layer.Layer<never, unknown, unknown>,
  _: variance
})

/** The edges of a built pipeline's targets. */
export const edges = (targets: Targets): Readonly<Record<string, Edge>> =>
  Object.fromEntries(Object.entries(targets).map(([name, ref]) => [name, ref.edge]))
