/**
 * The stage that turns a plan into an installable Python package.
 */
import { KernelPackage, type Plan, PlanDocument } from "@tessera/attention"
import { packageFiles, PackageName, unsupportedPlan } from "@tessera/codegen"
import { stage } from "@tessera/core"
import { Effect, Schema } from "effect"
import { constantsModule } from "./Constants.js"
import { golden } from "./Golden.js"
import { readme } from "./Readme.js"
import { templateFolder, templates } from "./Templates.js"

export const EmitTritonParams = Schema.Struct({
  /** Import name of the package. Default: `tessera_` and the plan's name. */
  packageName: Schema.optional(PackageName),
  /** Lengths N in tokens of the README's table and of the golden values that the package's tests check. */
  lengths: Schema.optionalWith(Schema.NonEmptyArray(Schema.Int.pipe(Schema.between(1, 1 << 22))), {
    default: () => [2048, 4096, 8192, 16384] as const
  })
})
export type EmitTritonParams = typeof EmitTritonParams.Type

const unsupported = (plan: Plan): string | undefined => {
  const { queryHeads, kvHeads, headDim } = plan.model
  if (queryHeads % kvHeads !== 0) {
    return `${queryHeads} query heads cannot share ${kvHeads} KV heads evenly`
  }
  if (headDim > 256) return `head dimension ${headDim}: the kernels go up to 256`
  if (queryHeads / kvHeads > 64)
    return `${queryHeads / kvHeads} query heads per KV head: the kernels go up to 64`
  return undefined
}

/** The files of the package by relative path. Equal plans and parameters give equal files. */
export const emitFiles = Effect.fn("emitFiles")(function* (plan: Plan, params: EmitTritonParams) {
  const problem = unsupported(plan)
  if (problem !== undefined) return yield* unsupportedPlan(plan, problem)
  const lengths = [...new Set(params.lengths)].sort((a, b) => a - b)
  return yield* packageFiles(plan, params.packageName, templates, (name) => ({
    texts: {
      "README.md": readme(plan, name, lengths),
      [`src/${name}/constants.py`]: constantsModule(plan)
    },
    values: { [`src/${name}/plan.json`]: plan, "tests/golden.json": golden(plan, lengths) }
  }))
})

/** Plan → a Python package of Triton kernels specialised to it, with its reference and tests. */
export const emitTriton = stage("codegen-triton", {
  version: "1",
  module: import.meta.url,
  assets: [templateFolder],
  description: "Emits a Python package of Triton kernels specialised to the plan",
  inputs: { plan: PlanDocument },
  outputs: { kernels: KernelPackage },
  params: EmitTritonParams,
  reproducible: "bitwise",
  run: ({ plan }, params) =>
    plan.value.pipe(
      Effect.flatMap((plan) => emitFiles(plan, params)),
      Effect.map((files) => ({ kernels: { files } }))
    )
})
