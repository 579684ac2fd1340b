/**
 * DuoAttention's attention patterns (arXiv 2410.10819): a folder with `full_attention_heads.tsv`, learned scores of each
 * KV head by layer, and `config.json` with the sink and the recent window of the heads that are not full.
 */
import { Either, ParseResult, Schema } from "effect"
import type { AttentionShape, Plan } from "../Plan.js"
import { askedTokens, dense, isLinear, type Rule } from "../Rule.js"
import { type PlanContext, PlanFormatError } from "./PlanFormatError.js"

export const duoFiles = { scores: "full_attention_heads.tsv", config: "config.json" } as const

/** The texts of the two files. */
export interface DuoFolder {
  readonly scores: string
  readonly config: string
}

/** Sizes in tokens. The file holds the rest of the training's settings too. */
const DuoConfig = Schema.parseJson(
  Schema.Struct({ sink_size: Schema.NonNegativeInt, recent_size: Schema.Int.pipe(Schema.positive()) })
)

/**
 * Which heads are full: those of at least a score, or all but a share of them. Scores are clipped to 0 … 1 first. Of equal
 * scores the earlier layer and head is the one that is not full, where the official code draws lots.
 */
export type DuoSelection = { readonly threshold: number } | { readonly sparsity: number }

export interface DuoContext extends Omit<PlanContext, "geometry"> {
  readonly select: DuoSelection
  /** Tokens per block; the sink and the recent window must be whole blocks. Default: 64. */
  readonly block?: number
  /** Sizes to deploy with, in tokens, instead of those of the training. */
  readonly sink?: number
  readonly recent?: number
}

const failure = (reason: PlanFormatError["reason"], detail: string) =>
  Either.left(new PlanFormatError({ reason, format: "DuoAttention", detail }))

const scoresOf = (
  text: string,
  { kvHeads, layers }: AttentionShape
): Either.Either<ReadonlyArray<ReadonlyArray<number>>, PlanFormatError> => {
  const rows = text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "")
    .map((line) => line.split("\t").map((cell) => cell.trim()))
  const widths = [...new Set(rows.map((row) => row.length))]
  if (rows.length !== layers || widths.some((width) => width !== kvHeads))
    return failure(
      "WrongShape",
      `${duoFiles.scores} holds ${rows.length} layers of ${widths.join("/") || "no"} scores, the model has ${layers} layers of ${kvHeads} KV heads`
    )
  return Either.all(
    rows.map((row, layer) =>
      Either.all(
        row.map((cell, head) => {
          const score = cell === "" ? NaN : Number(cell)
          return Number.isFinite(score)
            ? Either.right(Math.min(Math.max(score, 0), 1))
            : failure(
                "BadValue",
                `${duoFiles.scores}, layer ${layer}, KV head ${head}: "${cell}" is no finite number; train the pattern again`
              )
        })
      )
    )
  )
}

/** Whether each score, in order, is of a full head. */
const isFull = (scores: ReadonlyArray<number>, select: DuoSelection): ReadonlyArray<boolean> => {
  if ("threshold" in select) return scores.map((score) => score >= select.threshold)
  // Scores below the quantile, as it interpolates between them.
  const dropped = select.sparsity >= 1 ? scores.length : Math.ceil(select.sparsity * (scores.length - 1))
  const order = scores.map((_, i) => i).sort((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0) || a - b)
  const streaming = new Set(order.slice(0, dropped))
  return scores.map((_, i) => !streaming.has(i))
}

/** Reads a pattern: full heads are dense, the others keep the sink and the recent window at every length. */
export const fromDuo = (folder: DuoFolder, context: DuoContext): Either.Either<Plan, PlanFormatError> =>
  Either.gen(function* () {
    const { block = 64, model, select } = context
    const wanted = "threshold" in select ? select.threshold : select.sparsity
    if (!(wanted >= 0 && wanted <= 1))
      return yield* failure(
        "BadValue",
        `the ${"threshold" in select ? "threshold" : "sparsity"} is ${wanted}; it lies between 0 and 1`
      )
    const config = yield* Schema.decodeUnknownEither(DuoConfig)(folder.config).pipe(
      Either.orElse((error) =>
        failure(
          "Malformed",
          `${duoFiles.config} needs sink_size and recent_size, in tokens: ${ParseResult.TreeFormatter.formatErrorSync(error)}`
        )
      )
    )
    const sink = context.sink ?? config.sink_size
    const recent = context.recent ?? config.recent_size
    for (const [name, size, least] of [
      ["sink", sink, 0],
      ["recent window", recent, 1]
    ] as const)
      if (!Number.isInteger(size / block) || size < least * block)
        return yield* failure(
          "BadValue",
          `the ${name} of ${size} tokens is no whole number of blocks of ${block}; give another block, or deploy with another size${least === 0 ? "" : " of at least one block"}`
        )
    const scores = yield* scoresOf(folder.scores, model)
    const full = isFull(scores.flat(), select)
    const streaming: Rule = { alpha: sink + recent, beta: 0 }
    return {
      format: 1,
      name: context.name,
      model,
      geometry: { block, sink, minWindow: 1 },
      grouping: "kv-head",
      rules: scores.map((row, layer) =>
        row.map((_, head) => (full[layer * model.kvHeads + head] === true ? dense : streaming))
      ),
      length: context.length ?? "prompt+new",
      provenance: {
        source: "DuoAttention pattern",
        ...("threshold" in select
          ? { threshold: String(select.threshold) }
          : { sparsity: String(select.sparsity) }),
        "full heads": `${full.filter(Boolean).length} of ${full.length}`
      }
    }
  })

/** Dense at every length. */
const keepsAll = (rule: Rule): boolean => isLinear(rule) && rule.alpha >= 0 && rule.beta >= 1

/** Writes a plan whose KV heads are dense or keep one same number of tokens at every length, as scores of 1 and 0. */
export const toDuo = (plan: Plan): Either.Either<DuoFolder, PlanFormatError> =>
  Either.gen(function* () {
    const { block, minWindow, sink } = plan.geometry
    const group = plan.grouping === "kv-head" ? 1 : plan.model.queryHeads / plan.model.kvHeads
    const windowOf = (rule: Rule): number | undefined =>
      keepsAll(rule)
        ? Infinity
        : rule.beta === 0
          ? Math.max(Math.floor((askedTokens(rule, 1) - sink) / block), minWindow) * block
          : undefined
    const windows = plan.rules.map((rules) => rules.map(windowOf))
    const recent = windows.flat().find((window) => window !== undefined && window !== Infinity)
    for (const [layer, row] of windows.entries())
      for (const [head, window] of row.entries()) {
        const where = `layer ${layer}, ${plan.grouping === "kv-head" ? "KV" : "query"} head ${head}`
        if (window === undefined)
          return yield* failure(
            "NotExpressible",
            `${where} keeps a window that grows with N and is not all of it`
          )
        if (window !== Infinity && window !== recent)
          return yield* failure(
            "NotExpressible",
            `${where} keeps a recent window of ${window} tokens, an earlier head one of ${recent}`
          )
        if (window !== row[head - (head % group)])
          return yield* failure(
            "NotExpressible",
            `${where} keeps another window than the head before it, which shares its KV head; fold the plan to KV heads first`
          )
      }
    return {
      scores: windows
        .map(
          (row) =>
            `${row
              .filter((_, head) => head % group === 0)
              .map((window) => (window === Infinity ? "1.0" : "0.0"))
              .join("\t")}\n`
        )
        .join(""),
      config: `${JSON.stringify({ sink_size: sink, recent_size: recent ?? minWindow * block })}\n`
    }
  })
