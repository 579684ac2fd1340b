"""Writes demo.json: what transformers computes with the demo model, in float32 on the CPU with eager attention.

    python make.py ../../../../packages/demo/model    (torch and transformers; made with the versions it records)
"""

import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = sys.argv[1]
lines = [
    ("torrid-kid", 24169),
    ("deafening-mail", 90752),
    ("quiet-harbor", 31337),
    ("amber-stone", 60418),
    ("hollow-lamp", 15926),
    ("brisk-anchor", 78034),
    ("gentle-copper", 44601),
]
prompt = (
    "Below is a record of lines to remember. Each line has a name and a <REGISTER_CONTENT>.\n"
    + "".join(f"line {name}: REGISTER_CONTENT is <{number}>\n" for name, number in lines)
    + "Tell me what is the <REGISTER_CONTENT> in line quiet-harbor? I need the number.\n"
    + "The <REGISTER_CONTENT> in line quiet-harbor is <31337>.</s>"
)
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
ids = tokenizer(prompt).input_ids
with torch.no_grad():
    logits = model(torch.tensor([ids])).logits[0].double()
loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
positions = [0, len(ids) // 2, len(ids) - 2]
result = {
    "made": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, CPU, eager",
    "prompt": prompt,
    "ids": ids,
    "loss": [float(f"{x:.6g}") for x in loss.tolist()],
    "predicted": logits[:-1].argmax(-1).tolist(),
    "logits": [
        {"position": p, "values": [float(f"{x:.6g}") for x in logits[p].tolist()]} for p in positions
    ],
}
path = pathlib.Path(__file__).with_name("demo.json")
path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
print(path, len(ids), "tokens, mean loss", loss.mean().item())
