/**
 * The stage that turns a plan into a Python package for FlexAttention.
 */
import { KernelPackage, type Plan, PlanDocument } from "@tessera/attention"
import { packageFiles, PackageName, packageNameOf } from "@tessera/codegen"
import { stage } from "@tessera/core"
import { Effect, Schema } from "effect"
import { constantsModule } from "./Constants.js"
import { golden } from "./Golden.js"
import { readme } from "./Readme.js"
import { templateFolder, templates } from "./Templates.js"

export const EmitFlexParams = Schema.Struct({
  /** Import name of the package. Default: `tessera_flex_` and the plan's name. */
  packageName: Schema.optional(PackageName),
  /** The length classes: lengths N in tokens whose windows the package holds. A length takes the next larger class. */
  lengths: Schema.optionalWith(Schema.NonEmptyArray(Schema.Int.pipe(Schema.between(1, 1 << 22))), {
    default: () => [2048, 4096, 8192, 16384, 32768] as const
  })
})
export type EmitFlexParams = typeof EmitFlexParams.Type

/** The files of the package by relative path. Equal plans and parameters give equal files. */
export const emitFiles = (plan: Plan, params: EmitFlexParams) => {
  const lengths = [...new Set(params.lengths)].sort((a, b) => a - b)
  const packageName = params.packageName ?? packageNameOf(`flex_${plan.name}`)
  return packageFiles(plan, packageName, templates, (name) => ({
    texts: {
      "README.md": readme(plan, name, lengths),
      [`src/${name}/constants.py`]: constantsModule(plan, lengths)
    },
    values: { [`src/${name}/plan.json`]: plan, "tests/golden.json": golden(plan, lengths) }
  }))
}

/** Plan → a Python package of FlexAttention masks, a block mask per layer and length class. */
export const emitFlex = stage("codegen-flex", {
  version: "1",
  module: import.meta.url,
  assets: [templateFolder],
  description: "Emits a Python package that gives FlexAttention the masks of the plan",
  inputs: { plan: PlanDocument },
  outputs: { kernels: KernelPackage },
  params: EmitFlexParams,
  reproducible: "bitwise",
  run: ({ plan }, params) =>
    plan.value.pipe(
      Effect.flatMap((plan) => emitFiles(plan, params)),
      Effect.map((files) => ({ kernels: { files } }))
    )
})
