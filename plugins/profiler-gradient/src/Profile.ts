/**
 * Profiling as one step: an execution per item, then one influence of all.
 */
import type { CalibrationSet, Model } from "@tessera/attention"
import { gather, type Ref, shard } from "@tessera/core"
import type { Schema } from "effect"
import { profileItem, type ProfileParams } from "./ProfileItem.js"
import { reduceInfluence, type ReduceParams } from "./ReduceInfluence.js"

/** The paper's: gradients of the cross-entropy, absolute values of every entry, a mean over items. */
export const paper = { objective: "cross-entropy", aggregation: "abs-entry", over: "mean" } as const

/** What keeps retrieval on confident models: log-odds, absolute values per item, their root mean square. */
export const robust = { objective: "log-odds", aggregation: "abs-sample", over: "rms" } as const

/** Every item is an execution of its own: cached, retried and resumed alone. */
export const profile = <ME, MR, CE, CR>(
  inputs: {
    readonly model: Ref<typeof Model, ME, MR>
    readonly calibration: Ref<typeof CalibrationSet, CE, CR>
  },
  params: Schema.Schema.Encoded<typeof ProfileParams> & Schema.Schema.Encoded<typeof ReduceParams>
) => {
  const { model, calibration } = inputs
  const { over = "mean", ...perItem } = params
  const { influence } = profileItem.each({ model, calibration: shard(calibration, "item") }, perItem)
  return reduceInfluence({ items: gather(influence), model }, { over })
}
