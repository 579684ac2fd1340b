/**
 * The README of an emitted package, with the plan's own figures.
 */
import { density, type Plan, prefillShare } from "@tessera/attention"

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`

/** @param lengths the rows of the table, in tokens */
export const readme = (plan: Plan, packageName: string, lengths: ReadonlyArray<number>): string => {
  const { architecture, layers, queryHeads, kvHeads, headDim } = plan.model
  const { block, sink } = plan.geometry
  const rows = lengths.map(
    (length) =>
      `| ${length} | ${percent(density(plan, length))} | ${percent(prefillShare(plan, length, 64, 64))} |\n`
  )
  return `# ${packageName}

Attention kernels in Triton for one plan of sparse attention, \`${plan.name.replaceAll("`", "'")}\`: each head attends to a
sink of ${sink} tokens and a window whose length follows the head's rule (\`rule.py\`). Emitted by Tessera's codegen-triton.

For ${architecture}: ${layers} layers, ${queryHeads} query heads, ${kvHeads} KV heads, head dimension ${headDim}; blocks of
${block} tokens; rules per ${plan.grouping}.

| N | KV cache of the dense model | 64 x 64 tiles of dense causal prefill |
|---|---|---|
${rows.join("")}
## Use

\`\`\`python
import torch
from ${packageName} import decode, prefill

# q: [batch, query heads, tokens, dim]; k, v: [batch, KV heads, tokens, dim]; float16, bfloat16 or float32
out = prefill(q, k, v, layer=0, length=n)

# q: [batch, query heads, dim]; k, v: [batch, KV heads, capacity, dim]; lengths: int32 [batch], the new token included
out = decode(q, k, v, lengths, layer=0, length=n)
\`\`\`

\`n\` is the N of the rules: ${
    plan.length === "prompt"
      ? "the length of the prompt"
      : "the length of the prompt and the tokens to be generated"
  }. Give the same \`n\` to all calls of one generation.

- \`prefill\` visits only key tiles that hold a kept pair. Query heads read the K and V of their KV head; nothing is repeated.
  The queries are the last positions of the keys.
- Rows of a batch may be padded left or right: \`starts\` and \`lengths\`, on the device, say which tokens are real. Padded
  keys are not read, padded queries give zeros.
- \`past\` (\`Past\`) are positions that are cached already, in a sink and a ring per KV head: a prompt can come in chunks,
  a conversation in turns, and rows may have different pasts.
- \`TESSERA_HOPPER=1\` sends prompts without padding and \`past\` through a kernel of Hopper's own instructions where they fit
  (compute capability 9.0, float16 or bfloat16, head dimension 64 or 128); without it, and for all else, Triton's serves.
- \`decode\` reads only the sink and the longest window of each KV head, once for all its query heads; long heads are split
  and merged. Rows may have different lengths. Nothing on the host depends on them: a call can be captured in a CUDA graph.
- \`windowed_prefill\` and \`windowed_decode\` take windows as arguments, per query head or per row and query head.

\`reference.py\` says in plain torch what the kernels compute, \`spans.py\` how rules become windows and key ranges.

## Test

\`\`\`sh
pip install -e .[test] && python -m pytest
\`\`\`

runs on a GPU, or without one in Triton's interpreter (Linux). Errors are bounded as relative norms against float64: 2e-6 in
float32, 8e-4 in float16, 3e-3 in bfloat16 (6e-3 in the interpreter, which truncates).
\`python bench/prefill.py\` times prefill beside dense attention and FlexAttention (\`--sweep\`: with every tile shape),
\`python bench/bench.py\` decode and errors. They need a GPU.
`
}
