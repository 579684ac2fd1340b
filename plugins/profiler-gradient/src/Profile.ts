/**
 * Profiling as one step: an execution per item, averaged.
 */
import type { CalibrationSet, Model } from "@tessera/attention"
import { gather, type Ref, shard } from "@tessera/core"
import type { Schema } from "effect"
import { profileItem, type ProfileParams } from "./ProfileItem.js"
import { reduceInfluence } from "./ReduceInfluence.js"

/** The paper's: gradients of the cross-entropy, absolute values of every entry. */
export const paper = { objective: "cross-entropy", aggregation: "abs-entry" } as const

/** What keeps retrieval on confident models: log-odds, absolute values per item. */
export const robust = { objective: "log-odds", aggregation: "abs-sample" } as const

/** Every item is an execution of its own: cached, retried and resumed alone. */
export const profile = <ME, MR, CE, CR>(
  inputs: {
    readonly model: Ref<typeof Model, ME, MR>
    readonly calibration: Ref<typeof CalibrationSet, CE, CR>
  },
  params: Schema.Schema.Encoded<typeof ProfileParams>
) => {
  const { model, calibration } = inputs
  const { influence } = profileItem.each({ model, calibration: shard(calibration, "item") }, params)
  return reduceInfluence({ items: gather(influence), model }, {})
}
