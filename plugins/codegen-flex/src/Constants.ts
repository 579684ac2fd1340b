/**
 * The plan's windows at its length classes as a Python module.
 */
import { type Plan, planWindows } from "@tessera/attention"
import { pythonItems, pythonString } from "@tessera/codegen"

/** Renders `constants.py`: equal plans and lengths give equal text. */
export const constantsModule = (plan: Plan, lengths: ReadonlyArray<number>): string => {
  const layer = (windows: ReadonlyArray<number>) =>
    `        (\n${pythonItems(windows.map(String), "            ")}        ),\n`
  const windows = lengths.map(
    (length) => `    ${length}: (\n${planWindows(plan, length).map(layer).join("")}    ),\n`
  )
  return `"""The plan, folded into constants. Generated; plan.json beside it is the plan with its provenance."""

PLAN = ${pythonString(plan.name)}
ARCHITECTURE = ${pythonString(plan.model.architecture)}
LAYERS = ${plan.model.layers}
QUERY_HEADS = ${plan.model.queryHeads}
KV_HEADS = ${plan.model.kvHeads}
HEAD_DIM = ${plan.model.headDim}

# Tokens per block, and tokens of the sink.
BLOCK = ${plan.geometry.block}
SINK = ${plan.geometry.sink}

# What a length counts: "prompt", or "prompt+new" with the tokens to be generated.
LENGTH = ${pythonString(plan.length)}

# Windows in blocks, the diagonal block included: by length class, then layer, then query head.
WINDOWS: dict[int, tuple[tuple[int, ...], ...]] = {
${windows.join("")}}
`
}
