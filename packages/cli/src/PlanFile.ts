/**
 * Reads a plan from whatever holds one: a plan document, candidates, an official alpha/beta file, CSV, a DuoAttention
 * folder, or an artifact of the store.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import {
  AttentionShape,
  type Candidate,
  Candidates,
  duoFiles,
  type Expected,
  foldToKvHeads,
  fromCsv,
  fromDuo,
  fromOfficial,
  Plan,
  type PlanFormatError
} from "@tessera/attention"
import { attentionShape, openConfig } from "@tessera/runtime"
import { Effect, type Either, Option, ParseResult, Predicate, Schema } from "effect"
import * as path from "node:path"
import * as ArtifactText from "./ArtifactText.js"
import { CliError, messageOf } from "./Failure.js"
import * as Reference from "./Reference.js"
import { sharedStoreLayer } from "./StoreLayer.js"

/** What the verbs about plans share. */
export interface PlanArgs {
  readonly file: string
  readonly plan: string | undefined
  readonly lengths: string | undefined
  readonly fold: boolean
  /** What foreign files leave unsaid. */
  readonly foreign: {
    readonly name: string | undefined
    readonly model: string | undefined
    readonly shape: string | undefined
    readonly block: number | undefined
    readonly sink: number | undefined
    readonly recent: number | undefined
    readonly threshold: number | undefined
    readonly sparsity: number | undefined
  }
  readonly store: string
  readonly json: boolean
}

export interface ReadPlan {
  readonly plan: Plan
  /** What it was expected to cost, where that is known. */
  readonly expected: ReadonlyArray<Expected>
  /** N in tokens: those asked for, else those the plan was made for, else 4, 8 and 16 Ki. */
  readonly lengths: readonly [number, ...ReadonlyArray<number>]
  /** Bytes of a stored key or value element, where a model folder says it. */
  readonly bytesPerElement: number | undefined
}

const wrong = (where: string, detail: string, hint?: string) =>
  new CliError({ reason: "PlanFile", where, detail, ...(hint === undefined ? {} : { hint }) })
const option = (where: string, detail: string, hint?: string) =>
  new CliError({ reason: "Parameter", where, detail, ...(hint === undefined ? {} : { hint }) })

const formats =
  "A plan is a plan document or candidates (JSON), an official alpha/beta file (JSON), *.csv, a DuoAttention folder, or an artifact of the store."

/** `4096,8k` */
const parseLengths = (text: string) => {
  const lengths = text.split(",").map((each) => {
    const [, digits, kilo] = /^\s*(\d+)(k?)\s*$/i.exec(each) ?? []
    return digits === undefined ? 0 : Number(digits) * (kilo === "" ? 1 : 1024)
  })
  const [first, ...rest] = lengths
  return first === undefined || lengths.some((length) => length < 1 || length > 1 << 30)
    ? Effect.fail(option(`--lengths ${text}`, "expected lengths in tokens, such as 4096,8192 or 4k,8k"))
    : Effect.succeed([first, ...rest] as const)
}

const shapeKeys = {
  layers: "layers",
  "query-heads": "queryHeads",
  "kv-heads": "kvHeads",
  "head-dim": "headDim"
} as const

/** `layers=32,query-heads=32,kv-heads=8,head-dim=128` */
const parseShape = (text: string) => {
  const where = `--shape ${text}`
  const given = new Map(
    text
      .split(",")
      .map((part) => part.split("=", 2).map((each) => each.trim()))
      .map(([key = "", value = ""]) => [key, value])
  )
  const names = Object.keys(shapeKeys)
  const unknown = [...given.keys()].filter((key) => !names.includes(key))
  const missing = names.filter((key) => !given.has(key))
  if (unknown.length + missing.length > 0)
    return Effect.fail(
      option(
        where,
        missing.length > 0 ? `lacks ${missing.join(", ")}` : `has no ${unknown.join(", ")}`,
        "It is written layers=32,query-heads=32,kv-heads=8,head-dim=128."
      )
    )
  return Schema.decodeUnknown(AttentionShape)({
    architecture: "unknown",
    ...Object.fromEntries(Object.entries(shapeKeys).map(([key, name]) => [name, Number(given.get(key))]))
  }).pipe(Effect.mapError((error) => option(where, `is no shape of attention: ${issues(error)}`)))
}

const issues = (error: ParseResult.ParseError): string =>
  ParseResult.ArrayFormatter.formatErrorSync(error)
    .slice(0, 3)
    .map(({ message, path }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`))
    .join("; ")

/** The model that a foreign file is for. */
const modelOf = ({ model, shape }: PlanArgs["foreign"], file: string) => {
  if (model !== undefined)
    return openConfig(model).pipe(
      Effect.map((config) => ({
        model: attentionShape(config, { name: path.basename(path.resolve(model)) }),
        bytesPerElement: config.bytesPerElement
      })),
      Effect.mapError((error) => option(`--model ${model}`, error.message))
    )
  return shape === undefined
    ? Effect.fail(
        wrong(
          file,
          "says nothing of the model that it is for",
          "Give its folder (--model my-model), or --shape layers=32,query-heads=32,kv-heads=8,head-dim=128."
        )
      )
    : Effect.map(parseShape(shape), (model) => ({ model, bytesPerElement: undefined }))
}

interface Found {
  readonly plan: Plan
  readonly expected?: ReadonlyArray<Expected>
  readonly bytesPerElement?: number | undefined
}

const read = <A>(file: string, effect: Effect.Effect<A, { readonly message: string }>) =>
  Effect.mapError(effect, (error) => wrong(file, `cannot be read: ${error.message}`))

/** A plan document, or one of several candidates. */
const fromDocument = (json: unknown, { file, foreign, plan }: PlanArgs): Effect.Effect<Found, CliError> =>
  Effect.gen(function* () {
    const given = Object.entries(foreign).find(([, value]) => value !== undefined)
    if (given !== undefined)
      return yield* option(`--${given[0]}`, "is for files that do not say it, and a plan document does")
    const refused = (error: ParseResult.ParseError) => wrong(file, `is no plan document: ${issues(error)}`)
    if (!Predicate.hasProperty(json, "candidates"))
      return { plan: yield* Effect.mapError(Schema.decodeUnknown(Plan)(json), refused) }
    const { candidates }: { readonly candidates: ReadonlyArray<Candidate> } = yield* Effect.mapError(
      Schema.decodeUnknown(Candidates.schema)(json),
      refused
    )
    const chosen =
      plan === undefined && candidates.length === 1
        ? candidates[0]
        : candidates.find((each) => each.plan.name === plan)
    return chosen === undefined
      ? yield* wrong(
          file,
          plan === undefined ? "holds several plans" : `holds no plan ${plan}`,
          `Choose one with --plan: ${candidates.map((each) => each.plan.name).join(", ")}.`
        )
      : chosen
  })

const fromForeign = (
  args: PlanArgs,
  decode: (
    model: AttentionShape,
    name: string
  ) => Effect.Effect<Either.Either<Plan, PlanFormatError>, CliError>
): Effect.Effect<Found, CliError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const { bytesPerElement, model } = yield* modelOf(args.foreign, args.file)
    const name = args.foreign.name ?? path.basename(args.file).replace(/\.\w+$/, "")
    const plan = yield* decode(model, name).pipe(
      Effect.flatMap((decoded) => decoded),
      Effect.mapError((error) => (error._tag === "CliError" ? error : wrong(args.file, error.message)))
    )
    return { plan, bytesPerElement }
  })

const geometryOf = ({ block = 64, sink = 64 }: PlanArgs["foreign"]) =>
  sink % block === 0
    ? Effect.succeed({ block, sink, minWindow: 1 })
    : Effect.fail(option(`--sink ${sink}`, `is no whole number of blocks of ${block}; give another --block`))

const fromFolder = (args: PlanArgs) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { block, recent, sink, sparsity, threshold } = args.foreign
    if (sparsity !== undefined && threshold !== undefined)
      return yield* option("--sparsity", "and --threshold both choose the full heads; give one of them")
    const at = (name: string) => path.join(args.file, name)
    if (!(yield* read(args.file, fs.exists(at(duoFiles.scores)))))
      return yield* wrong(args.file, `is a folder without ${duoFiles.scores}`, formats)
    const scores = yield* read(at(duoFiles.scores), fs.readFileString(at(duoFiles.scores)))
    const config = yield* read(at(duoFiles.config), fs.readFileString(at(duoFiles.config)))
    return yield* fromForeign(args, (model, name) =>
      Effect.succeed(
        fromDuo(
          { scores, config },
          {
            name,
            model,
            select: sparsity === undefined ? { threshold: threshold ?? 0.5 } : { sparsity },
            ...(block === undefined ? {} : { block }),
            ...(sink === undefined ? {} : { sink }),
            ...(recent === undefined ? {} : { recent })
          }
        )
      )
    )
  })

const fromFile = (args: PlanArgs) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text = yield* read(args.file, fs.readFileString(args.file))
    const only = (["recent", "threshold", "sparsity"] as const).find(
      (name) => args.foreign[name] !== undefined
    )
    if (only !== undefined) return yield* option(`--${only}`, "is for DuoAttention folders")
    if (args.file.endsWith(".csv")) {
      const planId = args.plan === undefined ? undefined : Number(args.plan)
      const geometry = yield* geometryOf(args.foreign)
      return yield* fromForeign(args, (model, name) =>
        Effect.succeed(fromCsv(text, { name, model, geometry, ...(planId === undefined ? {} : { planId }) }))
      )
    }
    const json = yield* Effect.try({
      try: (): unknown => JSON.parse(text),
      catch: (cause) => wrong(args.file, `is not JSON: ${messageOf(cause)}`, formats)
    })
    if (!Predicate.hasProperty(json, "alphas") && !Predicate.hasProperty(json, "betas"))
      return yield* fromDocument(json, args)
    const geometry = yield* geometryOf(args.foreign)
    return yield* fromForeign(args, (model, name) =>
      Effect.succeed(fromOfficial(json, { name, model, geometry }))
    )
  })

const fromStore = (args: PlanArgs) =>
  Effect.gen(function* () {
    const found = yield* Reference.resolve(args.file).pipe(
      Effect.catchTag("CliError", ({ hint }) =>
        Effect.fail(
          wrong(
            args.file,
            "there is no such file, and no such artifact in the store",
            [hint, formats].filter(Predicate.isNotUndefined).join(" ")
          )
        )
      )
    )
    const [one, ...more] = found.artifacts
    if (one === undefined || more.length > 0)
      return yield* wrong(found.name, "ran once per shard; name one of its artifacts")
    const content = yield* ArtifactText.read(one.artifact)
    return content.kind === "document"
      ? yield* fromDocument(content.value, args)
      : yield* wrong(found.name, `is a ${content.kind} ${one.artifact.type}, and no plan`, formats)
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))

/** Reads the plan that a command line names. */
export const readPlan = (args: PlanArgs) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const kind = yield* Effect.option(fs.stat(args.file))
    const found: Found = yield* Option.match(kind, {
      onNone: () => fromStore(args),
      onSome: ({ type }) => (type === "Directory" ? fromFolder(args) : fromFile(args))
    })
    const expected = found.expected ?? found.plan.expected ?? []
    const [first, ...rest] = expected.map(({ length }) => length)
    const lengths =
      args.lengths !== undefined
        ? yield* parseLengths(args.lengths)
        : first === undefined
          ? ([4096, 8192, 16384] as const)
          : ([first, ...rest] as const)
    const folds = args.fold && found.plan.grouping === "query-head"
    const plan = folds ? foldToKvHeads(found.plan, lengths) : found.plan
    const read: ReadPlan = {
      plan,
      expected: folds ? [] : expected,
      lengths,
      bytesPerElement: found.bytesPerElement
    }
    return read
  })
