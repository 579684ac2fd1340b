/**
 * What the engine is asked and what it answers: options, results, plans, explanations.
 */
import type { Manifest } from "@tessera/core"
import type { Action, Artifact } from "@tessera/store"
import type { Effect } from "effect"
import type { RunEvent } from "./Events.js"
import type { Executor } from "./Executor.js"

export interface RunOptions {
  /** Pipeline parameters, encoded. */
  readonly params?: Readonly<Record<string, unknown>>
  /** Overrides of node parameters: node name (or stage id, for all its nodes) → parameter → value. */
  readonly set?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Targets to compute; default all. */
  readonly targets?: ReadonlyArray<string>
  /** Cores that executions keep busy at once (a stage says how many it takes); default the number of cores. */
  readonly concurrency?: number
  /** Bytes of memory that executions may take at once, by what their stages declare; default the machine's. */
  readonly memory?: number
  /**
   * Named slots, such as `{ gpu: ["0", "1"], licence: 3 }`: names of each, or how many. Default: the machine's GPUs
   * (`CUDA_VISIBLE_DEVICES`, else those the NVIDIA driver lists).
   */
  readonly slots?: Readonly<Record<string, number | ReadonlyArray<string>>>
  /** Attempts after the first that a transient failure gets, instead of what stages say; 0: none. */
  readonly retries?: number
  /** Goes on with all that does not need what failed, and reports the failures together at the end. */
  readonly keepGoing?: boolean
  /** Executors by node name or stage id, instead of what stages say. */
  readonly executor?: Readonly<Record<string, string>>
  /** Executors besides `inline` and `process`; one of the same name takes their place. */
  readonly executors?: ReadonlyArray<Executor>
  /** `file:` URL of the module whose default export is the pipeline: where other processes find it. */
  readonly module?: string
  /** Hears every event, in order. */
  readonly onEvent?: (event: RunEvent) => Effect.Effect<void>
}

export interface RunResult {
  readonly run: string
  /** By target; the shards of a sharded target by `target/shard`. */
  readonly targets: Readonly<Record<string, Artifact>>
  /** Tasks served from the cache and tasks executed. */
  readonly cached: number
  readonly executed: number
}

/** Why a node would run, or that it is cached. */
export interface PlannedNode {
  readonly node: string
  readonly stage: string
  /** `unknown`: an input is not computed yet, so the key cannot be known. `partial`: some shards are cached. */
  readonly status: "cached" | "run" | "partial" | "unknown"
  /** In words: `never ran`, `param density 0.5 → 0.25`, `code changed: select.ts`, `input influence changed`. */
  readonly reason: string
  readonly key?: string
  readonly shards?: { readonly total: number; readonly cached: number }
}

export interface Explanation {
  readonly node: string
  readonly shard?: string
  readonly manifest: Manifest
  readonly key: string
  readonly cached: boolean
  /** Where the cached result was not computed with this code: who vouched for it, and why. */
  readonly accepted?: NonNullable<Action["accepted"]>
  /** The manifest of the last execution of this node path, if there was one, and what differs, in words. */
  readonly previous?: { readonly key: string; readonly run: string; readonly manifest: Manifest }
  readonly differences: ReadonlyArray<string>
  /** All of it in one line; `cached` where nothing would run. */
  readonly reason: string
}
