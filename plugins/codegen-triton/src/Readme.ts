/**
 * The README of an emitted package, with the plan's own figures.
 */
import { density, type Plan, tileShare } from "@tessera/attention"

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`

/** @param lengths the rows of the table, in tokens */
export const readme = (plan: Plan, packageName: string, lengths: ReadonlyArray<number>): string => {
  const { architecture, layers, queryHeads, kvHeads, headDim } = plan.model
  const { block, sink } = plan.geometry
  const rows = lengths.map(
    (length) =>
      `| ${length} | ${percent(density(plan, length))} | ${percent(tileShare(plan, length, 64, 64))} |\n`
  )
  return `# ${packageName}

Attention kernels in Triton for one plan of sparse attention, \`${plan.name.replaceAll("`", "'")}\`: each head attends to a
sink of ${sink} tokens and a window whose length follows the head's rule (\`rule.py\`). Emitted by Tessera's codegen-triton.

For ${architecture}: ${layers} layers, ${queryHeads} query heads, ${kvHeads} KV heads, head dimension ${headDim}; blocks of
${block} tokens; rules per ${plan.grouping}.

| N | KV cache of the dense model | 64 x 64 tiles of dense causal prefill |
|---|---|---|
${rows.join("")}
## Use with Hugging Face

\`\`\`sh
pip install ".[huggingface]"
\`\`\`

\`\`\`python
from ${packageName}.huggingface import patch

patched = patch(model)  # an ${architecture} of this shape, from transformers 5.17 or later
model.generate(**inputs, max_new_tokens=200)  # padded batches, streamers, beams, samples, prompts in chunks
patched.unpatch()  # or: with patch(model): ...
\`\`\`

\`generate\` makes the plan's cache itself; for a conversation pass \`past_key_values=patched.cache()\` to each turn (\`cache=\` in
newer transformers). N of the rules is ${
    plan.length === "prompt" ? "the longest prompt" : "the longest prompt and the tokens to be generated"
  } of the first turn. \`patch(model, length=n)\` sets it,
\`step=tokens\` lets it grow with the conversation, \`slack=tokens\` lets assisted generation take back guesses.
Greedy tokens are those of the same model with the plan's mask in plain torch; the tests compare them.

Not supported, and refused: another shape of model, sliding windows, soft-capped logits, attention sinks of the model's own,
packed sequences, padding between a row's tokens, training, models spread over several devices, other caches.

## The cache

\`\`\`python
from ${packageName} import KVCache, attend

cache = KVCache(batch, n, torch.bfloat16, "cuda")
cache.advance(tokens)  # begins a step; int32 [batch] and the first real token of each row where rows are padded
out = attend(cache, layer, q, k, v)  # in each layer; q, k, v: [batch, heads, tokens, dim], rotated
\`\`\`

Each layer has one allocation for keys and one for values, \`[batch, slots, dim]\`: per KV head the sink and a ring of its longest
window (\`layout.py\`). \`bytes()\` says what they take. \`grow\` plans for a longer N, in new memory; tokens that were evicted do not
return, and no ring is smaller than the plan says. \`evict\` plans for a shorter one, \`truncate\` takes the newest
tokens back, \`fork\` goes on with some rows, or several times with one. A step of one token a row can be captured in a
CUDA graph: lengths are on the device.

## Use of the kernels

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
- Prompts without padding and \`past\` go through a kernel of Hopper's own instructions where they fit (compute capability
  9.0, Triton 3.6, float16 or bfloat16, head dimension 64 or 128), all else through Triton's. The environment variable
  \`TESSERA_HOPPER\` says 0 for never, 1 for any Triton.
- \`decode\` reads only the sink and the longest window of each KV head, once for all its query heads; long heads are split
  and merged. Rows may have different lengths. Nothing on the host depends on them: a call can be captured in a CUDA graph.
- \`windowed_prefill\` and \`windowed_decode\` take windows as arguments, per query head, the first also per row.
- \`cached_decode\` decodes from a layer of the cache. \`splits.py\` has tile shapes and the division of work by GPU.

\`reference.py\` says in plain torch what the kernels compute, \`spans.py\` how rules become windows and key ranges.

## Test

\`\`\`sh
pip install -e .[test] && python -m pytest
\`\`\`

runs on a GPU, or without one in Triton's interpreter (Linux). Errors are bounded as relative norms against float64: 2e-6 in
float32, 8e-4 in float16, 3e-3 in bfloat16 (6e-3 in the interpreter, which truncates).
With the package installed, on a machine with a GPU: \`python bench/prefill.py\` times prefill beside dense attention and
FlexAttention (\`--sweep\`: with every tile shape), \`python bench/decode.py\` decode beside dense attention (\`--sweep\` too),
\`python bench/generate.py\` the whole generate loop of a model with random weights beside the dense one at equal memory,
\`python bench/errors.py\` prints errors.
`
}
