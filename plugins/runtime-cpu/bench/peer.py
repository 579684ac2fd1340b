"""The same work by transformers in PyTorch eager on the CPU: one task and length per process, a JSON line on stdout.

    python peer.py MODEL prefill|decode|influence LENGTH THREADS REPEATS
"""

import json
import resource
import sys
import time

import torch
import transformers
from transformers import AutoModelForCausalLM

folder, task, length, threads, repeats = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
torch.set_num_threads(threads)
# Eager attention wherever scores are differentiated; transformers' default kernels elsewhere.
attention = "eager" if task == "influence" else "sdpa"
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention).eval()
config = model.config
ids = torch.tensor([[(i * 7919) % config.vocab_size for i in range(length)]])
NEW = 256
BLOCK = 16


def prefill():
    with torch.no_grad():
        logits = model(ids, logits_to_keep=1).logits[0]
        torch.nn.functional.cross_entropy(logits, ids[0, :1], reduction="none")
    return length


def decode():
    with torch.no_grad():
        out = model(ids, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1:].argmax(-1)
        start = time.perf_counter()
        for _ in range(NEW):
            out = model(token, past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
    return NEW, time.perf_counter() - start


def influence():
    """dL/dS from the attention's own probabilities: dS = A (G - sum A G), E = -dS / (1 - A), summed over blocks."""
    model.requires_grad_(False)
    embeds = model.get_input_embeddings()(ids).requires_grad_(True)
    out = model(inputs_embeds=embeds, output_attentions=True, logits_to_keep=length // 8 + 1)
    kept = length // 8
    loss = torch.nn.functional.cross_entropy(out.logits[0, :-1], ids[0, -kept:])
    gradients = torch.autograd.grad(loss, out.attentions)
    sums = []
    with torch.no_grad():
        for a, g in zip(out.attentions, gradients):
            a, g = a[0], g[0]
            e = -a * (g - (a * g).sum(-1, keepdim=True)) / (1 - a).clamp_min(1e-9)
            sums.append(e.unflatten(-1, (-1, BLOCK)).sum(-1).unflatten(-2, (-1, BLOCK)).sum(-2))
    assert all(s.shape == (config.num_attention_heads, length // BLOCK, length // BLOCK) for s in sums)
    return length


run = {"prefill": prefill, "decode": decode, "influence": influence}[task]
if repeats > 1:
    run()
best = None
for _ in range(repeats):
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    tokens, seconds = result if isinstance(result, tuple) else (result, seconds)
    best = max(best or 0, tokens / seconds)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
print(json.dumps({"tokensPerSecond": best, "peakMiB": peak, "versions": versions}))
