/**
 * `tessera plan-convert`: a plan in another form.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import { duoFiles, type Plan, PlanDocument, toCsv, toDuo, toFlex, toOfficial } from "@tessera/attention"
import { canonicalJson } from "@tessera/core"
import { Effect, Either, Schema } from "effect"
import * as path from "node:path"
import { CliError } from "../Failure.js"
import * as Output from "../Output.js"
import { type PlanArgs, type ReadPlan, readPlan } from "../PlanFile.js"

export interface PlanConvertArgs extends PlanArgs {
  readonly to: "official" | "duo" | "flex" | "csv" | "plan"
  readonly output: string | undefined
}

/** The texts of a form, by file name; one without a name is the file that the user names. */
type Files = Readonly<Record<string, string>>

const one = (text: string): Files => ({ "": text })

const documentText = (plan: Plan) =>
  canonicalJson(Schema.encodeSync(PlanDocument.schema)(plan), `plan ${plan.name}`)

const filesOf = ({ lengths, plan }: ReadPlan, { file, lengths: asked, to }: PlanConvertArgs) => {
  const refused = Effect.mapError(
    (error: { readonly message: string }) =>
      new CliError({ reason: "PlanFile", where: file, detail: error.message })
  )
  switch (to) {
    case "plan":
      return refused(Either.map(documentText(plan), (text) => one(`${text}\n`)))
    case "official":
      return refused(Either.map(toOfficial(plan), (json) => one(`${JSON.stringify(json)}\n`)))
    case "csv":
      return Effect.succeed(one(toCsv(plan)))
    case "duo":
      return refused(
        Either.map(toDuo(plan), ({ config, scores }): Files => ({
          [duoFiles.scores]: scores,
          [duoFiles.config]: config
        }))
      )
    case "flex": {
      const [length, ...more] = lengths
      return asked === undefined || more.length > 0
        ? new CliError({
            reason: "Parameter",
            where: "--to flex",
            detail: "FlexAttention's masks are of one length",
            hint: "Name it, such as --lengths 8192."
          })
        : refused(Either.map(toFlex(plan, length), one))
    }
  }
}

/** Writes a form's files; a form of several goes into a folder. */
const write = (files: Files, output: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    if (!("" in files)) yield* fs.makeDirectory(output, { recursive: true })
    for (const [name, text] of Object.entries(files)) yield* fs.writeFileString(path.join(output, name), text)
  }).pipe(
    Effect.mapError(
      (cause) =>
        new CliError({
          reason: "Output",
          where: output,
          detail: `cannot be written: ${cause.message}`,
          hint: "Check that its folder exists and can be written."
        })
    )
  )

export const planConvert = (args: PlanConvertArgs) =>
  Effect.gen(function* () {
    const found = yield* readPlan(args)
    const files = yield* filesOf(found, args)
    const { output, to } = args
    const text = files[""]
    if (output !== undefined) {
      yield* write(files, output)
      if (args.json) yield* Output.json({ plan: found.plan.name, to, output })
      return
    }
    if (text === undefined)
      return yield* new CliError({
        reason: "Output",
        where: `--to ${to}`,
        detail: "writes a folder",
        hint: "Name it with --output."
      })
    yield* args.json ? Output.json({ plan: found.plan.name, to, text }) : Output.out(text.trimEnd())
  })
