/** Plans to emit in tests: small ones, whose kernels the interpreter can run. */
import type { Plan } from "@tessera/attention"

export const small: Plan = {
  format: 1,
  name: "MoA 25%",
  model: { architecture: "LlamaForCausalLM", layers: 3, queryHeads: 4, kvHeads: 2, headDim: 16 },
  geometry: { block: 16, sink: 16, minWindow: 2 },
  grouping: "query-head",
  rules: [
    [
      { alpha: 0, beta: 1 },
      { alpha: 0, beta: 0.25 },
      { alpha: 64, beta: 0 },
      { alpha: -32, beta: 0.5 }
    ],
    [
      { alpha: 32, beta: 0.125 },
      { alpha: 32, beta: 0.125 },
      { alpha: 1e-7, beta: 0.3 },
      { alpha: 128, beta: -0.01 }
    ],
    [
      { alpha: -16, beta: 8, growth: "sqrt" },
      { alpha: 0, beta: 6, growth: "log2", cap: 100 },
      { alpha: 0, beta: 0.5, cap: 96 },
      { alpha: 0, beta: 1 }
    ]
  ],
  length: "prompt",
  provenance: { stage: "test" }
}

/** Blocks that no tile divides, no sink, rules per KV head. */
export const odd: Plan = {
  format: 1,
  name: "odd",
  model: { architecture: "LlamaForCausalLM", layers: 1, queryHeads: 6, kvHeads: 2, headDim: 24 },
  geometry: { block: 24, sink: 0, minWindow: 1 },
  grouping: "kv-head",
  rules: [
    [
      { alpha: 0, beta: 0.5 },
      { alpha: 48, beta: 0 }
    ]
  ],
  length: "prompt+new",
  provenance: {}
}
