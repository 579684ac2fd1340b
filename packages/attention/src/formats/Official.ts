/**
 * The plan files of the official MoA release: `{"alphas": [L][H], "betas": [L][H]}`, one rule per layer and query head
 * in the model's own head order, alpha in tokens. The files name no model, block, sink or length; the reader must.
 */
import { Either, ParseResult, Schema } from "effect"
import type { Plan } from "../Plan.js"
import { isLinear } from "../Rule.js"
import { type PlanContext, PlanFormatError } from "./PlanFormatError.js"

const Matrix = Schema.Array(Schema.Array(Schema.Finite))
type Matrix = typeof Matrix.Type

/** The official file: rules by layer, then by query head. */
export const OfficialPlan = Schema.Struct({ alphas: Matrix, betas: Matrix }).annotations({
  identifier: "OfficialPlan"
})
export type OfficialPlan = typeof OfficialPlan.Type

const failure = (reason: PlanFormatError["reason"], detail: string) =>
  Either.left(new PlanFormatError({ reason, format: "alpha/beta", detail }))

const shapeOf = (rows: Matrix): string =>
  `${rows.length} layers of ${[...new Set(rows.map((row) => row.length))].join("/") || "no"} heads`

/**
 * Reads an official file, as parsed JSON. The sink is taken to be inside the span, as in the official runtime (the
 * official optimizer charges it on top; see `headDensity`). Rules stay per query head; `foldToKvHeads` joins them.
 */
export const fromOfficial = (json: unknown, context: PlanContext): Either.Either<Plan, PlanFormatError> =>
  Either.gen(function* () {
    const { alphas, betas } = yield* Schema.decodeUnknownEither(OfficialPlan)(json).pipe(
      Either.orElse((error) => failure("Malformed", ParseResult.TreeFormatter.formatErrorSync(error)))
    )
    const { layers, queryHeads } = context.model
    for (const [name, rows] of [
      ["alphas", alphas],
      ["betas", betas]
    ] as const) {
      if (rows.length !== layers || rows.some((row) => row.length !== queryHeads))
        return yield* failure(
          "WrongShape",
          `${name} hold ${shapeOf(rows)}, the model has ${layers} layers of ${queryHeads} query heads`
        )
    }
    const layer = betas.findIndex((row) => row.some((beta) => beta < 0))
    if (layer >= 0) {
      const head = (betas[layer] ?? []).findIndex((beta) => beta < 0)
      return yield* failure(
        "BadValue",
        `betas[${layer}][${head}] is ${betas[layer]?.[head]}, and a window cannot shrink as N grows; make it 0 or more`
      )
    }
    return {
      format: 1,
      name: context.name,
      model: context.model,
      geometry: context.geometry,
      grouping: "query-head",
      rules: alphas.map((row, layer) =>
        row.map((alpha, head) => ({ alpha, beta: betas[layer]?.[head] ?? 0 }))
      ),
      length: context.length ?? "prompt+new",
      provenance: { source: "official alpha/beta file" }
    }
  })

/** Writes the official form. A rule of a KV head is repeated for each of its query heads; block and sink are lost. */
export const toOfficial = (plan: Plan): Either.Either<OfficialPlan, PlanFormatError> => {
  const layer = plan.rules.findIndex((rules) => !rules.every(isLinear))
  if (layer >= 0)
    return failure(
      "NotExpressible",
      `layer ${layer} has a rule with a cap or another growth than linear; write it as CSV or as a plan document`
    )
  const repeat = plan.grouping === "query-head" ? 1 : plan.model.queryHeads / plan.model.kvHeads
  const heads = (of: "alpha" | "beta") =>
    plan.rules.map((layer) => layer.flatMap((rule) => Array.from({ length: repeat }, () => rule[of])))
  return Either.right({ alphas: heads("alpha"), betas: heads("beta") })
}
