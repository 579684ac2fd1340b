/**
 * What a stage may ask of a model, whoever executes it.
 */
import type { Plan } from "@tessera/attention"
import type { Fingerprint } from "@tessera/core"
import { Context, type Effect, type Scope, type Stream } from "effect"
import type { ModelError, RuntimeError } from "./Errors.js"
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

export interface InfluenceRequest {
  readonly tokens: Tokens
  /** One flag per token: true where the loss of predicting that token counts. The first is never counted. */
  readonly mask: ReadonlyArray<boolean>
  readonly objective: Objective
  /** Tokens per block of the sums. */
  readonly block: number
  /** `signed`: sums of E. `abs`: sums of |E|. */
  readonly sum: "signed" | "abs"
}

/**
 * E[i,j] = -(dL/dS[i,j]) / (1 - A[i,j]): the estimated change of the mean loss when attention to j is dropped and the
 * rest of row i renormalised (MoA §4.1; design: "influence").
 */
export interface InfluenceResult {
  /** The objective's mean over the counted tokens. */
  readonly loss: number
  /** Blocks per side: ceil(tokens / block). */
  readonly blocks: number
  /** Block sums of one layer: row-major [query head, query block, key block], zero above the diagonal. */
  readonly layers: ReadonlyArray<Float32Array>
}

export interface LoadedModel {
  readonly config: ModelConfig
  readonly tokenizer: Tokenizer
  /** Results in the order of the requests, each as soon as it is there. */
  readonly generate: (requests: ReadonlyArray<GenerateRequest>) => Stream.Stream<Generation, RuntimeError>
  readonly score: (request: ScoreRequest) => Effect.Effect<ReadonlyArray<Score>, RuntimeError>
  readonly influence: (request: InfluenceRequest) => Effect.Effect<InfluenceResult, RuntimeError>
}

/** Executes models. `runtime-cpu` is the embedded one; others come as plugins and pass the same suite. */
export class ModelRuntime extends Context.Tag("@tessera/runtime/ModelRuntime")<
  ModelRuntime,
  {
    /** What results depend on. Stages that use a runtime put it into their keys. */
    readonly fingerprint: Effect.Effect<Fingerprint, RuntimeError>
    /** Opens a Hugging Face model folder. Loads of one folder are shared while any is in scope. */
    readonly load: (folder: string) => Effect.Effect<LoadedModel, RuntimeError | ModelError, Scope.Scope>
  }
>() {}
