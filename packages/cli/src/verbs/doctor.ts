/**
 * `tessera doctor`: whether this machine can run pipelines, and what to do where it cannot.
 */
import { constants } from "node:fs"
import { access, stat, statfs } from "node:fs/promises"
import * as path from "node:path"
import { Effect, Option, Predicate } from "effect"
import { CliError, messageOf } from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"

export interface DoctorArgs {
  readonly store: string
  readonly json: boolean
  readonly install: Option.Option<string>
}

/** As plugins give it: @tessera/runtime-torch. */
interface Check {
  readonly name: string
  readonly status: "ok" | "none" | "failed"
  readonly found: string
  readonly hint?: string
}

interface Progress {
  readonly done: number
  readonly total?: number
  readonly unit: string
  readonly label?: string
}

/** What a plugin that can be asked exports as `doctor`. */
interface Doctor {
  readonly checks: Effect.Effect<ReadonlyArray<Check>>
  readonly install: (report: (progress: Progress) => Effect.Effect<void>) => Effect.Effect<string, unknown>
}

const isDoctor = (value: unknown): value is Doctor =>
  Predicate.hasProperty(value, "checks") &&
  Effect.isEffect(value.checks) &&
  Predicate.hasProperty(value, "install") &&
  Predicate.isFunction(value.install)

/** What `--install` takes, and the plugin that knows how. */
const plugins: Readonly<Record<string, string>> = { torch: "@tessera/runtime-torch" }

/** Of the project in the current folder, like the imports of a pipeline; none where it is not installed. */
const doctorOf = (plugin: string): Effect.Effect<Option.Option<Doctor>, CliError> =>
  Effect.tryPromise({
    try: (): Promise<unknown> => import(plugin),
    catch: (cause) => cause
  }).pipe(
    Effect.matchEffect({
      onFailure: (cause) =>
        /^Cannot find (package|module)/.test(messageOf(cause)) && messageOf(cause).includes(plugin)
          ? Effect.succeedNone
          : new CliError({
              reason: "Doctor",
              where: plugin,
              detail: `cannot be loaded: ${messageOf(cause)}`
            }),
      onSuccess: (loaded) =>
        Predicate.hasProperty(loaded, "doctor") && isDoctor(loaded.doctor)
          ? Effect.succeedSome(loaded.doctor)
          : new CliError({
              reason: "Doctor",
              where: plugin,
              detail: "is of another version than this command; update both"
            })
    })
  )

/** Bytes below which a run may not get far. */
const LEAST = 1e9

const node: Effect.Effect<Check> = Effect.sync(() => {
  const [major = 0] = process.versions.node.split(".").map(Number)
  return major >= 20
    ? { name: "Node", status: "ok", found: process.version }
    : { name: "Node", status: "failed", found: process.version, hint: "Install Node 20 or newer." }
})

/** The folder itself, or the nearest one above it that is there. */
const nearest = async (folder: string): Promise<string> => {
  const found = await stat(folder).catch(() => undefined)
  if (found?.isDirectory() === true) return folder
  if (found !== undefined) throw new Error(`${folder} is not a folder`)
  return nearest(path.dirname(folder))
}

const store = (folder: string): Effect.Effect<ReadonlyArray<Check>> => {
  const root = path.resolve(folder)
  const hint = "Choose another folder with --store or TESSERA_STORE."
  return Effect.tryPromise(async () => {
    const there = await nearest(root)
    await access(there, constants.W_OK)
    const { bavail, bsize } = await statfs(there)
    return bavail * bsize
  }).pipe(
    Effect.map((free): ReadonlyArray<Check> => {
      const disk = { name: "disk", found: `${Format.bytes(free)} free` }
      return [
        { name: "store", status: "ok", found: root },
        free < LEAST ? { ...disk, status: "failed", hint } : { ...disk, status: "ok" }
      ]
    }),
    Effect.catchAll(({ error }) =>
      Effect.succeed([
        { name: "store", status: "failed" as const, found: `${root}: ${messageOf(error)}`, hint }
      ])
    )
  )
}

const ofPlugin = (plugin: string): Effect.Effect<ReadonlyArray<Check>, CliError> =>
  Effect.flatMap(
    doctorOf(plugin),
    Option.match({
      onNone: () =>
        Effect.succeed([
          {
            name: plugin,
            status: "none" as const,
            found: "not installed; it runs models on PyTorch",
            hint: `npm install ${plugin}`
          }
        ]),
      onSome: ({ checks }) => checks
    })
  )

const install = (what: string): Effect.Effect<string, CliError> =>
  Effect.gen(function* () {
    const plugin = plugins[what]
    const fail = (detail: string, hint?: string) =>
      new CliError({
        reason: "Doctor",
        where: `--install ${what}`,
        detail,
        ...(hint === undefined ? {} : { hint })
      })
    if (plugin === undefined)
      return yield* new CliError({
        reason: "Parameter",
        where: `--install ${what}`,
        detail: `there is no such thing to install; there is ${Object.keys(plugins).join(", ")}`
      })
    const found = yield* doctorOf(plugin)
    if (Option.isNone(found)) return yield* fail(`${plugin} is not installed`, `npm install ${plugin}`)
    const report = ({ done, total, unit, label }: Progress) =>
      Output.err(
        `  ${done}${total === undefined ? "" : `/${total}`} ${unit}${label === undefined ? "" : `  ${label}`}`
      )
    return yield* Effect.mapError(found.value.install(report), (error) =>
      fail(messageOf(error), "What was fetched is kept: the same command goes on from there.")
    )
  })

const marks = {
  ok: Output.style.good("ok"),
  none: Output.style.dim("none"),
  failed: Output.style.bad("failed")
} as const

const text = (checks: ReadonlyArray<Check>): string =>
  [
    Format.columns([
      { title: "check", cells: checks.map(({ name }) => name) },
      { title: "", cells: checks.map(({ status }) => marks[status]) },
      // The rest of a long message would tear the table.
      { title: "found", cells: checks.map(({ found }) => found.split("\n")[0] ?? "") }
    ]),
    ...checks.flatMap(({ name, hint }) => (hint === undefined ? [] : [`${name}: ${hint}`]))
  ].join("\n")

export const doctor = (args: DoctorArgs) =>
  Effect.gen(function* () {
    if (Option.isSome(args.install)) {
      const interpreter = yield* install(args.install.value)
      yield* Output.err(`${args.install.value} is installed: ${interpreter}`)
    }
    const own = [yield* node, ...(yield* store(args.store))]
    const others = yield* Effect.forEach(Object.values(plugins), ofPlugin)
    const checks = [...own, ...others.flat()]
    const failed = checks.filter(({ status }) => status === "failed")
    yield* args.json ? Output.json({ ok: failed.length === 0, checks }) : Output.out(text(checks))
    if (failed.length > 0) {
      return yield* new CliError({
        reason: "Doctor",
        where: failed.map(({ name }) => name).join(", "),
        detail: failed.map(({ found }) => found).join("; "),
        ...(failed[0]?.hint === undefined ? {} : { hint: failed[0].hint })
      })
    }
  })
