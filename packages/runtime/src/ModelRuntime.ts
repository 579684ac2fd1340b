/**
 * What a stage may ask of a model, whoever executes it.
 */
import type { Plan } from "@tessera/attention"
import type { Fingerprint, Resources } from "@tessera/core"
import { Context, Effect, type Scope, type Stream } from "effect"
import { type ModelError, RuntimeError } from "./Errors.js"
import type { ModelConfig } from "./ModelConfig.js"
import type { Tokenizer } from "./Tokenizer.js"

/** Token ids. */
export type Tokens = ReadonlyArray<number> | Int32Array

export interface GenerateRequest {
  readonly prompt: Tokens
  readonly maxNewTokens: number
  /** Ids that end the generation; the one that did is part of the result. Default: the model's end-of-text ids. */
  readonly stop?: ReadonlyArray<number>
  /** Greedy when absent. */
  readonly sampling?: { readonly temperature: number; readonly topP?: number; readonly seed: number }
  /** Dense when absent. N is the prompt's length plus `maxNewTokens` where the plan says so. */
  readonly plan?: Plan
}

export interface Generation {
  /** New tokens only. */
  readonly tokens: ReadonlyArray<number>
  readonly ended: "stop" | "length"
}

/** Several continuations of one prefix: the prefix is computed once. */
export interface ScoreRequest {
  readonly prefix: Tokens
  /** Each is scored on its own, straight after the prefix. */
  readonly continuations: ReadonlyArray<Tokens>
  /** Dense when absent. */
  readonly plan?: Plan
  /** N for the plan's spans. Default: the prefix and the longest continuation. */
  readonly length?: number
}

/** Per token of one continuation, in order. */
export interface Score {
  /** Cross-entropy in nats. */
  readonly loss: Float32Array
  /** The id with the largest logit at each position: greedy decoding is exact iff all equal the continuation. */
  readonly predicted: Int32Array
}

/** `cross-entropy`: the paper's. `log-odds`: log(1 - p) - log p, whose gradient does not vanish on confident answers. */
export type Objective = "cross-entropy" | "log-odds"

/** A sequence whose influence is wanted. */
export interface InfluenceItem {
  readonly tokens: Tokens
  /** One flag per token: true where the loss of predicting that token counts. The first is never counted. */
  readonly mask: ReadonlyArray<boolean>
}

/** What influence is of, and how it is summed. */
export interface InfluenceOptions {
  readonly objective: Objective
  /** Tokens per block of the sums. */
  readonly block: number
  /** `signed`: sums of E. `abs`: sums of |E|. */
  readonly sum: "signed" | "abs"
  /**
   * Default: block sums. `windows`: only what each window of blocks drops, next to a sink of this many tokens (whole
   * blocks) that is never dropped: one curve instead of blocks² sums.
   */
  readonly reduce?: { readonly kind: "windows"; readonly sink: number }
}

export interface InfluenceRequest extends InfluenceItem, InfluenceOptions {}

/**
 * E[i,j] = -(dL/dS[i,j]) / (1 - A[i,j]): the estimated change of the mean loss when attention to j is dropped and the
 * rest of row i renormalised (MoA §4.1; design: "influence").
 */
export interface InfluenceResult {
  /** The objective's mean over the counted tokens; of several items, the sum of their means. */
  readonly loss: number
  /** Blocks per side: ceil(tokens / block), of the longest item. */
  readonly blocks: number
  /**
   * By layer, row-major: block sums [query head, query block, key block], zero above the diagonal; or, reduced to
   * windows, [query head, 0 … blocks]: D(w) of `windowCurve` (@tessera/attention).
   */
  readonly layers: ReadonlyArray<Float32Array>
}

export interface LoadedModel {
  readonly config: ModelConfig
  readonly tokenizer: Tokenizer
  /** Results in the order of the requests, each as soon as it is there. */
  readonly generate: (requests: ReadonlyArray<GenerateRequest>) => Stream.Stream<Generation, RuntimeError>
  readonly score: (request: ScoreRequest) => Effect.Effect<ReadonlyArray<Score>, RuntimeError>
  readonly influence: (request: InfluenceRequest) => Effect.Effect<InfluenceResult, RuntimeError>
  /** The sum of several items' influences, which stays where it is computed until the last item is done. */
  readonly influenceSum: (
    items: ReadonlyArray<InfluenceItem>,
    options: InfluenceOptions
  ) => Effect.Effect<InfluenceResult, RuntimeError>
}

/** Executes models. `runtime-cpu` is the embedded one; others come as plugins and pass the same suite. */
export class ModelRuntime extends Context.Tag("@tessera/runtime/ModelRuntime")<
  ModelRuntime,
  {
    /** What results depend on. Stages that use a runtime put it into their keys. */
    readonly fingerprint: Effect.Effect<Fingerprint, RuntimeError>
    /** What one execution that uses it keeps busy: cores, or a GPU. */
    readonly resources: Effect.Effect<Resources, RuntimeError>
    /**
     * Opens a Hugging Face model folder, on the GPUs that the current task holds where it holds any. Loads of one folder
     * are shared while any is in scope.
     */
    readonly load: (folder: string) => Effect.Effect<LoadedModel, RuntimeError | ModelError, Scope.Scope>
  }
>() {}

/** What every stage that computes with a model says of itself: spread it into the stage. */
export const onRuntime = {
  reproducible: "device",
  resources: Effect.flatMap(ModelRuntime, (runtime) => runtime.resources),
  fingerprint: Effect.flatMap(ModelRuntime, (runtime) => runtime.fingerprint),
  retry: {
    transient: (error: unknown) =>
      error instanceof RuntimeError && (error.reason === "WorkerDied" || error.reason === "Hung")
  }
} as const
