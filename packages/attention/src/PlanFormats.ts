/**
 * The plan files of the official MoA release: `{"alphas": [L][H], "betas": [L][H]}`, one rule per layer and query head
 * in the model's own head order, alpha in tokens. The files name no model, block, sink or length; the reader must.
 */
import { Data, Either, ParseResult, Schema } from "effect"
import { AttentionShape, Plan, PlannedLength } from "./Plan.js"
import { blocks, Geometry, isLinear, sinkBlocks } from "./Rule.js"

/** A plan file that cannot be read as a plan. */
export class PlanFormatError extends Data.TaggedError("PlanFormatError")<{
  /**
   * `Malformed`: not the format at all. `WrongShape`: the format, but not for this model. `NotExpressible`: a plan that
   * the format cannot say.
   */
  readonly reason: "Malformed" | "WrongShape" | "NotExpressible"
  readonly detail: string
}> {
  override get message(): string {
    return this.reason === "NotExpressible"
      ? `this plan has no alpha/beta form: ${this.detail}`
      : `not an alpha/beta plan file for this model: ${this.detail}`
  }
}

const Matrix = Schema.Array(Schema.Array(Schema.Finite))

/** The official file: rules by layer, then by query head. */
export const OfficialPlan = Schema.Struct({ alphas: Matrix, betas: Matrix }).annotations({
  identifier: "OfficialPlan"
})
export type OfficialPlan = typeof OfficialPlan.Type

/** What an official file leaves unsaid. The official system has blocks and a sink of 64 tokens each. */
export interface OfficialContext {
  readonly name: string
  readonly model: AttentionShape
  readonly geometry: Geometry
  /** Default: `prompt+new`, as the official runtime sizes its cache. */
  readonly length?: PlannedLength
}

const shapeOf = (rows: ReadonlyArray<ReadonlyArray<number>>): string =>
  `${rows.length} layers of ${[...new Set(rows.map((row) => row.length))].join("/") || "no"} heads`

/**
 * Reads an official file, as parsed JSON. The sink is taken to be inside the span, as in the official runtime (the
 * official optimizer charges it on top; see `officialDensity`). Rules stay per query head.
 */
export const fromOfficial = (json: unknown, context: OfficialContext): Either.Either<Plan, PlanFormatError> =>
  Schema.decodeUnknownEither(OfficialPlan)(json).pipe(
    Either.mapLeft(
      (error) =>
        new PlanFormatError({
          reason: "Malformed",
          detail: ParseResult.TreeFormatter.formatErrorSync(error)
        })
    ),
    Either.flatMap(({ alphas, betas }) => {
      const { layers, queryHeads } = context.model
      const fits = (rows: ReadonlyArray<ReadonlyArray<number>>) =>
        rows.length === layers && rows.every((row) => row.length === queryHeads)
      const wrong = !fits(alphas) ? `alphas hold ${shapeOf(alphas)}` : `betas hold ${shapeOf(betas)}`
      return fits(alphas) && fits(betas)
        ? Either.right<Plan>({
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
          })
        : Either.left(
            new PlanFormatError({
              reason: "WrongShape",
              detail: `${wrong}, the model has ${layers} layers of ${queryHeads} query heads`
            })
          )
    })
  )

/** Writes the official form. A rule of a KV head is repeated for each of its query heads; block and sink are lost. */
export const toOfficial = (plan: Plan): Either.Either<OfficialPlan, PlanFormatError> => {
  const layer = plan.rules.findIndex((rules) => !rules.every(isLinear))
  if (layer >= 0)
    return Either.left(
      new PlanFormatError({
        reason: "NotExpressible",
        detail: `layer ${layer} has a rule with a cap or another growth than linear`
      })
    )
  const repeat = plan.grouping === "query-head" ? 1 : plan.model.queryHeads / plan.model.kvHeads
  const heads = (of: "alpha" | "beta") =>
    plan.rules.map((layer) => layer.flatMap((rule) => Array.from({ length: repeat }, () => rule[of])))
  return Either.right({ alphas: heads("alpha"), betas: heads("beta") })
}

/**
 * The density that the official optimizer bounds: a band of `floor(alpha / block) + beta * blocks` blocks, at least
 * one, and the sink on top of it; the mean over the plan's heads, of a `length` that is a whole number of blocks.
 */
export const officialDensity = (plan: Plan, length: number): number => {
  const total = blocks(plan.geometry, length)
  const kept = plan.rules.flat().map(({ alpha, beta }) => {
    const band = Math.max(Math.trunc(Math.floor(alpha / plan.geometry.block) + beta * total), 1)
    return Math.min(band + sinkBlocks(plan.geometry), total)
  })
  return kept.reduce((sum, each) => sum + each, 0) / (kept.length * total)
}
