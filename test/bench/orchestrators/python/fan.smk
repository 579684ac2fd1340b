# Independent nodes, and one that sums them.
NODES = 1000

rule join:
    input: expand("out/{i}.json", i=range(NODES))
    output: "sum.json"
    shell: "cat {input} | awk '{{ s += $1 }} END {{ print s }}' > {output}"

rule leaf:
    output: "out/{i}.json"
    shell: "echo {wildcards.i} > {output}"
