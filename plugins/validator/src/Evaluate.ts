/**
 * Evaluation as one step: an execution per record or item, summarised.
 */
import type { CalibrationSet, Candidates, EvaluationSet, Model } from "@tessera/attention"
import { gather, type Ref, shard } from "@tessera/core"
import { evaluateAnswer } from "./EvaluateAnswer.js"
import { evaluateRecord } from "./EvaluateRecord.js"
import type { Judge } from "./Measure.js"
import { summarise } from "./Summarise.js"

interface EvaluateParams extends Partial<Judge> {
  readonly dense?: boolean
  readonly depths?: boolean
}

interface EvaluateOptions {
  readonly name?: string
}

const named = ({ name }: EvaluateOptions, suffix = "") =>
  name === undefined ? {} : { name: `${name}${suffix}` }

/** On questions with known answers. */
export const evaluate = <ME, MR, EE, ER, CE, CR>(
  inputs: {
    readonly model: Ref<typeof Model, ME, MR>
    readonly evaluation: Ref<typeof EvaluationSet, EE, ER>
    readonly candidates: Ref<typeof Candidates, CE, CR>
  },
  { depths = true, ...params }: EvaluateParams = {},
  options: EvaluateOptions = {}
) => {
  const { model, evaluation, candidates } = inputs
  const { items } = evaluateRecord.each(
    { model, evaluation: shard(evaluation, "record"), candidates },
    params,
    named(options)
  )
  return summarise({ items: gather(items) }, { depths }, named(options, "-summary"))
}

/** On answers that were not profiled, such as those of longer items than any that were. */
export const evaluateAnswers = <ME, MR, HE, HR, CE, CR>(
  inputs: {
    readonly model: Ref<typeof Model, ME, MR>
    readonly heldOut: Ref<typeof CalibrationSet, HE, HR>
    readonly candidates: Ref<typeof Candidates, CE, CR>
  },
  params: Pick<EvaluateParams, "dense"> = {},
  options: EvaluateOptions = {}
) => {
  const { model, heldOut, candidates } = inputs
  const { items } = evaluateAnswer.each(
    { model, heldOut: shard(heldOut, "item"), candidates },
    { dense: params.dense ?? true },
    named(options)
  )
  return summarise({ items: gather(items) }, {}, named(options, "-summary"))
}
