/**
 * The README of an emitted package, with the plan's own figures.
 */
import { density, type Plan, tileShare } from "@tessera/attention"
import { tile } from "./Golden.js"

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`

/** @param lengths the length classes, in tokens */
export const readme = (plan: Plan, packageName: string, lengths: ReadonlyArray<number>): string => {
  const { architecture, layers, queryHeads, kvHeads, headDim } = plan.model
  const { block, sink } = plan.geometry
  const rows = lengths.map(
    (length) =>
      `| ${length} | ${percent(density(plan, length))} | ${percent(tileShare(plan, length, tile, tile))} |\n`
  )
  return `# ${packageName}

Masks of one plan of sparse attention, \`${plan.name.replaceAll("`", "'")}\`, for PyTorch's FlexAttention: each query head
attends to a sink of ${sink} tokens and a window of its own. Emitted by Tessera's codegen-flex.

For ${architecture}: ${layers} layers, ${queryHeads} query heads, ${kvHeads} KV heads, head dimension ${headDim}; blocks of
${block} tokens; rules per ${plan.grouping}.

| length class | KV cache of the dense model | ${tile} x ${tile} tiles of dense causal attention |
|---|---|---|
${rows.join("")}
## Use

\`\`\`python
import torch
from ${packageName} import attention, block_mask, mask_mod

# q: [batch, query heads, tokens, dim]; k, v: [batch, KV heads, tokens, dim]
out = attention(q, k, v, layer=0, length=n)

# Or with a FlexAttention call of your own:
mask = block_mask(layer=0, length=n, q_len=q.shape[2], kv_len=k.shape[2], device=q.device)
out = torch.compile(flex_attention)(q, k, v, block_mask=mask, enable_gqa=True)
\`\`\`

\`n\` is ${
    plan.length === "prompt"
      ? "the length of the prompt"
      : "the length of the prompt and the tokens to be generated"
  }; the windows are those of the next larger length class. The queries are the last positions of the keys.

Block masks are computed tile by tile from the windows, with the tiles that are kept whole told apart, so that no mask of
tokens is ever made: \`create_block_mask\` would evaluate all N² pairs. \`masks.py\` has all of it.

## Test

\`\`\`sh
pip install -e .[test] && python -m pytest
\`\`\`
`
}
