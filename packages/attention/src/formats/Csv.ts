/**
 * Plans as CSV, in the columns of the official optimizer's `opt_alpha_beta.csv`: an index without a name, plan_id,
 * layer_id, head_id, alpha_value, beta_value; and growth and cap where a rule has them. Its cells are numbers and the
 * names of growths, so none needs quotes.
 */
import { Either, Option, Schema } from "effect"
import type { Grouping, Plan } from "../Plan.js"
import { Growth, type Rule } from "../Rule.js"
import { type PlanContext, PlanFormatError } from "./PlanFormatError.js"

const required = ["layer_id", "head_id", "alpha_value", "beta_value"] as const
const columns = ["", "plan_id", ...required, "growth", "cap"] as const
type Column = (typeof columns)[number]

const failure = (reason: PlanFormatError["reason"], detail: string) =>
  new PlanFormatError({ reason, format: "CSV", detail })

export interface CsvContext extends PlanContext {
  /** Which plan of a file that holds several. */
  readonly planId?: number
  /** What head_id counts. Default: query heads where there are as many, else KV heads. */
  readonly grouping?: Grouping
}

interface Line {
  readonly number: number
  readonly plan: number
  readonly layer: number
  readonly head: number
  readonly rule: Rule
}

const decodeGrowth = Schema.decodeUnknownOption(Growth)

/** Reads one line's cells. */
const lineOf = (cells: ReadonlyMap<Column, string>, number: number): Either.Either<Line, PlanFormatError> =>
  Either.gen(function* () {
    const wrong = (column: Column, wanted: string) =>
      Either.left(
        failure(
          "BadValue",
          `line ${number}: ${column} is "${cells.get(column) ?? ""}", and must be ${wanted}`
        )
      )
    const finite = (column: Column) => {
      const text = cells.get(column) ?? ""
      const value = text === "" ? NaN : Number(text)
      return Number.isFinite(value) ? Either.right(value) : wrong(column, "a finite number")
    }
    const index = (column: Column) =>
      Either.filterOrLeft(finite(column), Number.isInteger, () =>
        failure("BadValue", `line ${number}: ${column} is no whole number`)
      ).pipe(Either.flatMap((value) => (value < 0 ? wrong(column, "0 or more") : Either.right(value))))
    const beta = yield* finite("beta_value")
    if (beta < 0) return yield* wrong("beta_value", "0 or more: a window cannot shrink as N grows")
    const growthText = cells.get("growth") ?? ""
    const growth = decodeGrowth(growthText)
    if (growthText !== "" && Option.isNone(growth)) return yield* wrong("growth", Growth.literals.join(", "))
    const cap = (cells.get("cap") ?? "") === "" ? undefined : yield* finite("cap")
    if (cap !== undefined && cap <= 0) return yield* wrong("cap", "more than 0")
    return {
      number,
      plan: cells.has("plan_id") ? yield* index("plan_id") : 0,
      layer: yield* index("layer_id"),
      head: yield* index("head_id"),
      rule: {
        alpha: yield* finite("alpha_value"),
        beta,
        ...(Option.isSome(growth) ? { growth: growth.value } : {}),
        ...(cap === undefined ? {} : { cap })
      }
    }
  })

const linesOf = (text: string): Either.Either<ReadonlyArray<Line>, PlanFormatError> =>
  Either.gen(function* () {
    const [head = "", ...rest] = text.replace(/^\uFEFF/, "").split(/\r?\n/)
    const names = head.split(",").map((name) => name.trim())
    const missing = required.filter((name) => !names.includes(name))
    if (missing.length > 0)
      return yield* Either.left(
        failure(
          "Malformed",
          `line 1 names no column ${missing.join(", ")}; it has to name ${required.join(", ")}`
        )
      )
    const known = columns.filter((name) => names.includes(name))
    const lines = rest.flatMap((line, i) => (line.trim() === "" ? [] : [{ line, number: i + 2 }]))
    if (lines.length === 0) return yield* Either.left(failure("Malformed", "it has no line below the names"))
    return yield* Either.all(
      lines.map(({ line, number }) => {
        const cells = line.split(",").map((cell) => cell.trim())
        return cells.length === names.length
          ? lineOf(new Map(known.map((name) => [name, cells[names.indexOf(name)] ?? ""])), number)
          : Either.left(
              failure("Malformed", `line ${number} has ${cells.length} cells, the names are ${names.length}`)
            )
      })
    )
  })

/** Reads one plan of a file. */
export const fromCsv = (text: string, context: CsvContext): Either.Either<Plan, PlanFormatError> =>
  Either.gen(function* () {
    const all = yield* linesOf(text)
    const ids = [...new Set(all.map(({ plan }) => plan))].sort((a, b) => a - b)
    const planId = context.planId ?? (ids.length === 1 ? ids[0] : undefined)
    if (planId === undefined || !ids.includes(planId))
      return yield* Either.left(
        failure("WrongShape", `it holds plans ${ids.join(", ")}; say which one by its plan_id`)
      )
    const lines = all.filter(({ plan }) => plan === planId)
    const { kvHeads, layers, queryHeads } = context.model
    const most = Math.max(...lines.map(({ head }) => head)) + 1
    const grouping = context.grouping ?? (most === queryHeads || most !== kvHeads ? "query-head" : "kv-head")
    const heads = grouping === "kv-head" ? kvHeads : queryHeads
    const rules = Array.from({ length: layers }, () =>
      Array.from({ length: heads }, (): Rule | undefined => undefined)
    )
    for (const { head, layer, number, rule } of lines) {
      const row = rules[layer]
      if (row === undefined || head >= heads)
        return yield* Either.left(
          failure(
            "WrongShape",
            `line ${number} is of layer ${layer}, head ${head}; the model has ${layers} layers of ${queryHeads} query heads and ${kvHeads} KV heads`
          )
        )
      if (row[head] !== undefined)
        return yield* Either.left(
          failure("Malformed", `line ${number} gives layer ${layer}, head ${head} a second rule`)
        )
      row[head] = rule
    }
    return {
      format: 1,
      name: context.name,
      model: context.model,
      geometry: context.geometry,
      grouping,
      rules: yield* Either.all(
        rules.map((row, layer) =>
          Either.all(
            row.map((rule, head) =>
              Either.fromNullable(rule, () =>
                failure(
                  "WrongShape",
                  `layer ${layer}, head ${head} has no line; each of ${heads} heads needs one`
                )
              )
            )
          )
        )
      ),
      length: context.length ?? "prompt+new",
      provenance: { source: `CSV, plan_id ${planId}` }
    }
  })

/** Writes a plan as plan 0 of a file, a line per layer and KV head, or per layer and query head. */
export const toCsv = (plan: Plan): string => {
  const rules = plan.rules.flat()
  const more = [
    ...(rules.some(({ growth }) => growth !== undefined) ? (["growth"] as const) : []),
    ...(rules.some(({ cap }) => cap !== undefined) ? (["cap"] as const) : [])
  ]
  const lines = plan.rules.flatMap((heads, layer) =>
    heads.map((rule, head) => [
      0,
      layer,
      head,
      rule.alpha,
      rule.beta,
      ...more.map((name) => rule[name] ?? "")
    ])
  )
  return [["", "plan_id", ...required, ...more], ...lines.map((line, i) => [i, ...line])]
    .map((cells) => `${cells.join(",")}\n`)
    .join("")
}
