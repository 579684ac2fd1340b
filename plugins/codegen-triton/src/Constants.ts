/**
 * The plan's constants as a Python module.
 */
import type { Plan, Rule } from "@tessera/attention"
import { pythonFloat as float, pythonItems as lines, pythonString as string } from "@tessera/codegen"

/** Trailing defaults are left out. */
const call = ({ alpha, beta, cap, growth = "linear" }: Rule): string =>
  `Rule(${[
    float(alpha),
    float(beta),
    ...(growth === "linear" && cap === undefined ? [] : [string(growth)]),
    ...(cap === undefined ? [] : [float(cap)])
  ].join(", ")})`

/** Renders `constants.py`: equal plans give equal text. */
export const constantsModule = (plan: Plan): string => {
  const distinct = [...new Set(plan.rules.flat().map(call))]
  const index = new Map(distinct.map((rule, i) => [rule, String(i)]))
  const layer = (rules: ReadonlyArray<Rule>) =>
    `    (\n${lines(
      rules.map((rule) => index.get(call(rule)) ?? ""),
      "        "
    )}    ),\n`
  return `"""The plan, folded into constants. Generated; plan.json beside it is the plan with its provenance."""

from .rule import Rule

PLAN = ${string(plan.name)}
ARCHITECTURE = ${string(plan.model.architecture)}
LAYERS = ${plan.model.layers}
QUERY_HEADS = ${plan.model.queryHeads}
KV_HEADS = ${plan.model.kvHeads}
HEAD_DIM = ${plan.model.headDim}

# Tokens per block, tokens of the sink, and the fewest blocks of a window.
BLOCK = ${plan.geometry.block}
SINK = ${plan.geometry.sink}
MIN_WINDOW = ${plan.geometry.minWindow}

# What N counts in a rule's span: "prompt", or "prompt+new" with the tokens to be generated.
LENGTH = ${string(plan.length)}
# Whether RULES has one rule per "kv-head" or per "query-head" of a layer.
GROUPING = ${string(plan.grouping)}

_DISTINCT: tuple[Rule, ...] = (
${distinct.map((rule) => `    ${rule},\n`).join("")})
_CHOICES: tuple[tuple[int, ...], ...] = (
${plan.rules.map(layer).join("")})
# By layer, then head.
RULES = tuple(tuple(_DISTINCT[i] for i in layer) for layer in _CHOICES)
`
}
