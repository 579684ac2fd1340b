/**
 * A stage: a typed, keyed step. Applying it to refs yields refs, so wiring is function application.
 */
import type * as Arrow from "apache-arrow"
import { Context, type Duration, type Effect, type Schema, type Scope, type Stream } from "effect"
import type { ArtifactError } from "./Errors.js"
import type { Edge, Node } from "./Graph.js"
import type { Document, Fields, Port, Ports, Row, Shards, Table, Tree } from "./Port.js"
import * as Ref from "./Ref.js"

/** Reads an input table. */
export interface TableReader<out F extends Fields> {
  readonly digest: string
  /** Rows in order. A convenience: bulk numbers are better read from `table`. */
  readonly rows: Stream.Stream<Row<Table<F>>, ArtifactError>
  /** The whole table, its buffers mapped where the store allows it. */
  readonly table: Effect.Effect<Arrow.Table, ArtifactError>
}

/** Reads an input document. */
export interface DocumentReader<out A> {
  readonly digest: string
  readonly value: Effect.Effect<A, ArtifactError>
}

/** Reads an input tree. */
export interface TreeReader {
  readonly digest: string
  /** A folder to read from. Never write to it. */
  readonly path: string
}

export type Reader<P> =
  P extends Table<infer F>
    ? TableReader<F>
    : P extends Document<infer A>
      ? DocumentReader<A>
      : P extends Tree<string>
        ? TreeReader
        : never

/** Files of a tree that a stage produced: text or bytes by relative path, or a folder the stage wrote. */
export type TreeContent =
  { readonly files: Readonly<Record<string, string | Uint8Array>> } | { readonly folder: string }

/** What a stage returns for a port: a stream of rows or an Arrow table, a value, or files. */
export type Produced<P> =
  P extends Table<infer F>
    ? Stream.Stream<Row<Table<F>>, unknown, unknown> | Arrow.Table
    : P extends Document<infer A>
      ? A
      : P extends Tree<string>
        ? TreeContent
        : never

export interface Progress {
  readonly done: number
  readonly total?: number
  /** What is counted, such as `items`, `tokens` or `problems`. */
  readonly unit: string
  /** What is being worked on now. */
  readonly label?: string
}

/** What the engine lends to one execution of a stage. */
export interface Task {
  /** An empty folder of this execution's own; gone when it ends. */
  readonly scratch: string
  /** The named slots that this execution holds, such as `{ gpu: ["0", "1"] }`: what the machine calls each of them. */
  readonly slots: Readonly<Record<string, ReadonlyArray<string>>>
  /** Shows progress to whoever watches the run. Never fails, never changes a result. */
  readonly report: (progress: Progress) => Effect.Effect<void>
}

/**
 * The task that the engine runs in this fiber; undefined outside of any. For services that many stages share: a runtime
 * takes the GPU that the task holds, and reports to who watches it. A stage has its task as an argument.
 */
export class CurrentTask extends Context.Reference<CurrentTask>()("@tessera/core/CurrentTask", {
  defaultValue: (): Task | undefined => undefined
}) {}

/** What a result depends on besides code, parameters and inputs: the runtime behind a service, the device. */
export interface Fingerprint {
  /** Names and versions, such as `{ runtime: "cpu", onnxruntime: "1.30.0" }`. */
  readonly facts: Readonly<Record<string, string>>
  /** `import.meta.url` of modules whose code (with what they import) decides results. */
  readonly modules?: ReadonlyArray<string>
  /** Files and folders outside of any module that decide results, such as the sources of a Python worker. */
  readonly assets?: ReadonlyArray<URL>
  /** Facts of the machine; part of the key only where the stage is reproducible per device. */
  readonly device?: Readonly<Record<string, string>>
}

/** What one execution needs while it runs. More than the run has of cores and memory is cut to all there is. */
export interface Resources {
  /** Cores it keeps busy; default 1. */
  readonly cpu?: number
  /** Bytes of memory. */
  readonly memory?: number
  /** GPUs. Which ones is in `task.slots.gpu`; a child process sees only them, as CUDA_VISIBLE_DEVICES. */
  readonly gpu?: number
  /** Other things that a run has a few of, by name: licences, links, devices. */
  readonly slots?: Readonly<Record<string, number>>
}

/**
 * Failures that may pass by themselves. What is not declared here fails at once. Written after `run`, whose errors it is
 * about, its parameter needs no type.
 */
export interface Retry<E> {
  /** Whether trying again may help. */
  readonly transient: (error: E) => boolean
  /** Attempts after the first; default 3. */
  readonly times?: number
  /** Before the second attempt; doubled before each further one, up to a minute, with jitter. Default 1 second. */
  readonly pause?: Duration.DurationInput
}

/**
 * `bitwise`: equal keys give equal bytes everywhere. `device`: on equal devices; the device's facts are part of the key.
 * `no`: never served from the cache unless asked.
 */
export type Reproducible = "bitwise" | "device" | "no"

export interface StageSpec<In extends Ports, Out extends Ports, P, PI, S, E, R, FE, FR> {
  /** Change it to recompute on purpose. */
  readonly version: string
  /** `import.meta.url` of the module that defines the stage: its code, with all it imports, is part of the key. */
  readonly module: string
  /**
   * Files and folders outside of the module's imports that decide results (Python sources, templates):
   * `new URL("../python/", import.meta.url)`. Their names and contents are part of the key; what tools leave beside
   * them, such as `__pycache__`, is not.
   */
  readonly assets?: ReadonlyArray<URL>
  /** One line for people. */
  readonly description?: string
  readonly inputs: In
  readonly outputs: Out
  readonly params: Schema.Schema<P, PI>
  readonly reproducible?: Reproducible
  // What follows is in no key: it decides where and when a result is made, never what it is.
  /** An effect where a service knows it: a runtime that computes on a GPU asks for one. */
  readonly resources?: Resources | Effect.Effect<Resources, FE, FR>
  readonly retry?: Retry<NoInfer<E | StreamError<S>>>
  /** The longest one attempt may take. */
  readonly timeout?: Duration.DurationInput
  /** The executor it runs on unless the run says otherwise: `inline` (default), `process`, or one that a plugin brings. */
  readonly executor?: string
  /** Identifies the services that decide the result. */
  readonly fingerprint?: Effect.Effect<Fingerprint, FE, FR>
  readonly run: (
    inputs: { readonly [K in keyof In]: Reader<In[K]> },
    params: P,
    task: Task
  ) => Effect.Effect<S, E, R>
}

type StreamError<S> = S extends Stream.Stream<infer _A, infer E, infer _R> ? E : never
type StreamContext<S> = S extends Stream.Stream<infer _A, infer _E, infer R> ? R : never

export interface Options {
  /** Names the node, for `explain`, `--set` and reports. Default: the stage's id. */
  readonly name?: string
}

type Inputs<In extends Ports> = { readonly [K in keyof In]: Ref.Ref<In[K], unknown, unknown> }
type ShardedInputs<In extends Ports> = {
  readonly [K in keyof In]: Ref.Ref<Shards<In[K]>, unknown, unknown> | Ref.Ref<In[K], unknown, unknown>
}

/** The stage as the engine sees it. */
export interface AnyStage {
  readonly id: string
  readonly spec: Omit<
    StageSpec<Ports, Ports, unknown, unknown, unknown, unknown, unknown, unknown, unknown>,
    "params" | "run" | "retry"
  > & {
    readonly params: Schema.Schema.AnyNoContext
    readonly retry?: Retry<never>
    readonly run: (
      inputs: Readonly<Record<string, Reader<Port>>>,
      params: unknown,
      task: Task
    ) => Effect.Effect<Readonly<Record<string, unknown>>, unknown, unknown>
  }
}

/** @param P the parameters as a caller writes them: defaults may be left out. */
export interface Stage<In extends Ports, Out extends Ports, P, E, R> extends AnyStage {
  <const I extends Inputs<In>>(
    inputs: I,
    params: P,
    options?: Options
  ): {
    readonly [K in keyof Out]: Ref.Ref<Out[K], E | Ref.Ref.Error<I[keyof I]>, R | Ref.Ref.Context<I[keyof I]>>
  }
  /** Runs once per shard; each shard is cached, retried and resumed on its own. */
  each<const I extends ShardedInputs<In>>(
    inputs: I,
    params: P,
    options?: Options
  ): {
    readonly [K in keyof Out]: Ref.Ref<
      Shards<Out[K]>,
      E | Ref.Ref.Error<I[keyof I]>,
      R | Ref.Ref.Context<I[keyof I]>
    >
  }
}

/** Applies a stage whose types are not known, such as one that a suite was given; what does not fit shows when it runs. */
export const apply = (
  stage: AnyStage,
  inputs: Readonly<Record<string, Ref.Ref.Any>>,
  params: unknown,
  { each, name }: Options & { readonly each: boolean }
): Readonly<Record<string, Ref.Ref.Any>> => {
  const edges = Object.fromEntries(
    Object.entries(inputs).map(([port, ref]): [string, Edge] => [port, ref.edge])
  )
  const node: Node = { stage, name, inputs: edges, params, each }
  return Object.fromEntries(
    Object.entries(stage.spec.outputs).map(([port, type]) => [
      port,
      each
        ? Ref.make({ kind: "shards", of: type, by: "" }, { node, port, view: { _tag: "Shards" } })
        : Ref.make(type, { node, port, view: { _tag: "Whole" } })
    ])
  )
}

export const stage = <
  const In extends Ports,
  const Out extends Ports,
  P,
  PI,
  E,
  R,
  S extends { readonly [K in keyof Out]: Produced<Out[K]> },
  FE = never,
  FR = never
>(
  id: string,
  spec: StageSpec<In, Out, P, PI, S, E, R, FE, FR>
): Stage<
  In,
  Out,
  PI,
  E | FE | StreamError<S[keyof S]>,
  Exclude<R | FR | StreamContext<S[keyof S]>, Scope.Scope>
> => {
  // The typed surface is built once here; below it the graph is untyped on purpose.
  const built = Object.assign(
    (inputs: Readonly<Record<string, Ref.Ref.Any>>, params: unknown, options?: Options) =>
      apply(built, inputs, params, { ...options, each: false }),
    {
      each: (inputs: Readonly<Record<string, Ref.Ref.Any>>, params: unknown, options?: Options) =>
        apply(built, inputs, params, { ...options, each: true }),
      id,
      spec
    }
  ) as never as AnyStage
  return built as never
}
