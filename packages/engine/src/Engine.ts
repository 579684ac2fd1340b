/**
 * What the engine offers: plan a pipeline, run it, explain a node.
 */
import type { Manifest } from "@tessera/core"
import type { Artifact } from "@tessera/store"
import type { Effect } from "effect"
import type { RunEvent } from "./Events.js"

export interface RunOptions {
  /** Pipeline parameters, encoded. */
  readonly params?: Readonly<Record<string, unknown>>
  /** Overrides of node parameters: node name (or stage id, for all its nodes) → parameter → value. */
  readonly set?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Targets to compute; default all. */
  readonly targets?: ReadonlyArray<string>
  /** Executions at once; default the number of cores. */
  readonly concurrency?: number
  /** Hears every event, in order. */
  readonly onEvent?: (event: RunEvent) => Effect.Effect<void>
}

export interface RunResult {
  readonly run: string
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
  readonly manifest: Manifest
  readonly key: string
  readonly cached: boolean
  /** The manifest of the last execution of this node path, if there was one, and what differs, in words. */
  readonly previous?: { readonly key: string; readonly run: string; readonly manifest: Manifest }
  readonly differences: ReadonlyArray<string>
}
