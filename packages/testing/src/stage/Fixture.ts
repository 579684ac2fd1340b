/**
 * What a stage is tried with.
 */
import type { Fields, Ports, Stage, Table } from "@tessera/core"
import type { Duration, Layer } from "effect"
import type { Content } from "./Given.js"

type TableColumns<P> = P extends Table<infer F extends Fields> ? keyof F & string : never

export interface StageTrial<In extends Ports, P> {
  /** Small inputs that the stage gives a result for. */
  readonly inputs: { readonly [K in keyof In]: Content<In[K]> }
  /** As a caller writes them. */
  readonly params: P
  /** What defaults those parameters get, encoded; checked where given. */
  readonly defaults?: Readonly<Record<string, unknown>>
  /**
   * Where the stage may run once per shard: the column of each input to shard by, which must have two or more values.
   * Then shards put together must be the whole, rows in any order.
   */
  readonly each?: { readonly [K in keyof In]?: TableColumns<In[K]> }
  /**
   * How far numbers of two results may be apart, relative to the larger of 1 and themselves; only for stages that are
   * reproducible per device. Default: not at all.
   */
  readonly tolerance?: number
  /** Environment variables that it may see. Default: none but PATH, HOME and TMPDIR. */
  readonly environment?: ReadonlyArray<string>
  /** How long it may take to end when interrupted. Default 10 seconds. */
  readonly patience?: Duration.DurationInput
}

/** With the services of the stage, where it needs any. */
export type StageFixture<In extends Ports, P, R> = StageTrial<In, P> &
  ([R] extends [never] ? { readonly layer?: undefined } : { readonly layer: Layer.Layer<R, unknown> })

export type StageOf<In extends Ports, Out extends Ports, P, E, R> = Stage<In, Out, P, E, R>
