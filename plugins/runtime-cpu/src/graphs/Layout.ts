/**
 * What graphs and those who feed them agree on. Apart from the graphs, so that feeding needs none of what emits them.
 */
import type { ModelConfig } from "@tessera/runtime"

/** Query heads that share a KV head. */
export const group = (config: ModelConfig): number => config.queryHeads / config.kvHeads

/** Prefix of what belongs to one layer in a graph of several: inputs `k`, `v`, `mask` and weights; outputs `new_k`, `new_v`. */
export const ofLayer = (layer: number, name: string): string => `l${layer}.${name}`
