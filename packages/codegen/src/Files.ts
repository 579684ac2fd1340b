/**
 * The files of an emitted package: templates, which are real files that every package of a target shares, and what is
 * written for the plan.
 */
import { fileURLToPath } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import type { Plan } from "@tessera/attention"
import { canonicalJson } from "@tessera/core"
import { Effect, Either } from "effect"
import { CodegenError } from "./Errors.js"
import { packageNameOf } from "./PackageName.js"

/** The Python sources that every package of a target shares. */
export interface Templates {
  /** The target's npm package, to be named where a template is gone. */
  readonly owner: string
  /** The folder of the templates, beside the target's `src`. */
  readonly folder: URL
  /** The import name that they carry; replaced by the emitted package's. */
  readonly name: string
  /** Every file that is emitted as it stands but for the name; what tools leave beside them is not. */
  readonly files: ReadonlyArray<string>
}

/** What is written for the plan: by relative path, texts, or values as canonical JSON. */
export interface OwnFiles {
  readonly texts: Readonly<Record<string, string>>
  readonly values: Readonly<Record<string, unknown>>
}

const read = ({ owner, folder, files }: Templates) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.forEach(
      files,
      (file) =>
        fs.readFileString(`${fileURLToPath(folder)}${file}`).pipe(
          Effect.map((text) => [file, text] as const),
          Effect.mapError(
            (cause) =>
              new CodegenError({
                reason: "Template",
                where: `python/template/${file}`,
                detail: `cannot be read; reinstall ${owner}`,
                cause
              })
          )
        ),
      { concurrency: 8 }
    )
  )

/** A plan that a target cannot emit. */
export const unsupportedPlan = (plan: Plan, detail: string): CodegenError =>
  new CodegenError({ reason: "UnsupportedPlan", where: `plan ${plan.name}`, detail })

/**
 * The files of a package by relative path, sorted. Equal arguments give equal files.
 *
 * @param packageName the import name; `tessera_` and the plan's name if undefined
 * @param own given the import name, what is written for the plan
 */
export const packageFiles = Effect.fn("packageFiles")(function* (
  plan: Plan,
  packageName: string | undefined,
  templates: Templates,
  own: (name: string) => OwnFiles
) {
  const name = packageName ?? packageNameOf(plan.name)
  const rename = (text: string) =>
    text
      .replaceAll(templates.name, name)
      .replaceAll(templates.name.replace("_", "-"), name.replaceAll("_", "-"))
  const shared = (yield* read(templates)).map(([file, text]) => [rename(file), rename(text)] as const)
  const { texts, values } = own(name)
  const written = yield* Effect.forEach(Object.entries(values), ([file, value]) =>
    canonicalJson(value, `plan ${plan.name}`).pipe(
      Either.mapBoth({
        onLeft: ({ detail }) => unsupportedPlan(plan, detail),
        onRight: (text) => [file, `${text}\n`] as const
      })
    )
  )
  return Object.fromEntries(
    [...shared, ...Object.entries(texts), ...written].sort(([a], [b]) => (a < b ? -1 : 1))
  )
})
