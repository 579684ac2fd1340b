/**
 * Profiling as one step: an execution per item, then one influence of all; or an execution per length.
 */
import type { CalibrationSet, Model } from "@tessera/attention"
import { gather, type Ref, shard } from "@tessera/core"
import type { Schema } from "effect"
import type { ProfileLengthParams, ProfileParams } from "./Params.js"
import { profileItem } from "./ProfileItem.js"
import { profileLength } from "./ProfileLength.js"
import { reduceInfluence, type ReduceParams, readShape } from "./ReduceInfluence.js"

/** The paper's: gradients of the cross-entropy, absolute values of every entry, a mean over items. */
export const paper = { objective: "cross-entropy", aggregation: "abs-entry", over: "mean" } as const

/** What keeps retrieval on confident models: log-odds, absolute values per item, their root mean square. */
export const robust = { objective: "log-odds", aggregation: "abs-sample", over: "rms" } as const

/** Every item is an execution of its own: cached, retried and resumed alone. */
type PerItem = { readonly per?: "item" } & Schema.Schema.Encoded<typeof ProfileParams> &
  Schema.Schema.Encoded<typeof ReduceParams>

/**
 * All items of a length are one execution, whose sums leave the device once: less is stored and moved, above all with
 * `keepBlocks`. Only sums and means that need no item by itself.
 */
type PerLength = { readonly per: "length"; readonly over?: "mean" } & Schema.Schema.Encoded<
  typeof ProfileLengthParams
>

export const profile = <ME, MR, CE, CR>(
  inputs: {
    readonly model: Ref<typeof Model, ME, MR>
    readonly calibration: Ref<typeof CalibrationSet, CE, CR>
  },
  params: PerItem | PerLength
) => {
  const { model, calibration } = inputs
  if (params.per === "length") {
    const { per: _per, over: _over, ...perLength } = params
    const { influence } = profileLength.each({ model, calibration: shard(calibration, "length") }, perLength)
    return { influence: gather(influence), ...readShape({ model }, {}) }
  }
  const { per: _per, over = "mean", ...perItem } = params
  const { influence } = profileItem.each({ model, calibration: shard(calibration, "item") }, perItem)
  return reduceInfluence({ items: gather(influence), model }, { over })
}
