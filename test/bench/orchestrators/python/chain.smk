# Each node adds one to the one before.
import sys

# Snakemake walks from the last node back by recursion; Python's limit ends that after 480 nodes.
sys.setrecursionlimit(100_000)
NODES = 1000

rule last:
    input: f"out/{NODES - 1}.json"

rule first:
    output: "out/0.json"
    shell: "echo 0 > {output}"

rule follow:
    input: lambda w: f"out/{int(w.i) - 1}.json"
    output: "out/{i}.json"
    wildcard_constraints: i="[1-9][0-9]*"
    shell: "read n < {input}; echo $((n + 1)) > {output}"
