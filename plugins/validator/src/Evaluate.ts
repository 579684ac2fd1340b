/**
 * Evaluation as one step: an execution per record, summarised.
 */
import type { Candidates, EvaluationSet, Model } from "@tessera/attention"
import { gather, type Ref, shard } from "@tessera/core"
import { evaluateRecord } from "./EvaluateRecord.js"
import { summarise } from "./Summarise.js"

export const evaluate = <ME, MR, EE, ER, CE, CR>(
  inputs: {
    readonly model: Ref<typeof Model, ME, MR>
    readonly evaluation: Ref<typeof EvaluationSet, EE, ER>
    readonly candidates: Ref<typeof Candidates, CE, CR>
  },
  params: { readonly dense?: boolean; readonly depths?: boolean } = {},
  options: { readonly name?: string } = {}
) => {
  const { model, evaluation, candidates } = inputs
  const name = (suffix: string) => (options.name === undefined ? {} : { name: `${options.name}${suffix}` })
  const { dense, depths } = params
  const { items } = evaluateRecord.each(
    { model, evaluation: shard(evaluation, "record"), candidates },
    dense === undefined ? {} : { dense },
    name("")
  )
  return summarise({ items: gather(items) }, depths === undefined ? {} : { depths }, name("-summary"))
}
