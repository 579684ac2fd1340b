/**
 * Which remote store the environment names, and what may be done with it.
 */
import type { Options } from "@tessera/store/remote"
import { Config, type ConfigError, Duration, Effect, Option, Redacted } from "effect"
import { readFile } from "node:fs/promises"
import { CliError } from "./Failure.js"

export const REMOTE = "TESSERA_REMOTE"
export const MODE = "TESSERA_REMOTE_MODE"
export const TRUSTED = "TESSERA_TRUSTED_KEYS"
export const SIGNING = "TESSERA_SIGNING_KEY"
export const HEADER = "TESSERA_REMOTE_HEADER"
export const TIMEOUT = "TESSERA_REMOTE_TIMEOUT"

const variables = Config.all({
  url: Config.redacted(Config.nonEmptyString(REMOTE)),
  mode: Config.option(Config.literal("read", "read-write")(MODE)),
  trusted: Config.withDefault(Config.string(TRUSTED), ""),
  signing: Config.option(Config.redacted(Config.nonEmptyString(SIGNING))),
  header: Config.option(Config.redacted(Config.nonEmptyString(HEADER))),
  timeout: Config.withDefault(Config.duration(TIMEOUT), Duration.seconds(30))
})

const wrong = (where: string, detail: string, hint?: string) =>
  new CliError({ reason: "Parameter", where, detail, ...(hint === undefined ? {} : { hint }) })

const text = (where: string, path: string) =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: () => wrong(where, `is neither a key nor a file that can be read: ${path}`)
  })

/** Keys, and files of keys: one a line, with what they are called after them; `#` begins a remark. */
const trustedKeys = (value: string): Effect.Effect<ReadonlyArray<string>, CliError> =>
  Effect.map(
    Effect.forEach(value.split(/[\s,]+/).filter(Boolean), (item) =>
      item.startsWith("ed25519:")
        ? Effect.succeed([item])
        : Effect.map(text(TRUSTED, item), (lines) =>
            lines
              .split("\n")
              .map((line) => line.replace(/#.*/, "").trim().split(/\s+/)[0] ?? "")
              .filter(Boolean)
          )
    ),
    (all) => all.flat()
  )

const signingKey = (value: Redacted.Redacted): Effect.Effect<Redacted.Redacted, CliError> =>
  Redacted.value(value).startsWith("-----BEGIN")
    ? Effect.succeed(value)
    : Effect.map(text(SIGNING, Redacted.value(value)), Redacted.make)

const headers = (value: Redacted.Redacted): Effect.Effect<Record<string, Redacted.Redacted>, CliError> =>
  Effect.map(
    Effect.forEach(
      Redacted.value(value)
        .split("\n")
        .filter((line) => line.trim() !== ""),
      (line) => {
        const [, name, content] = /^([\w-]+):\s*(.*)$/.exec(line.trim()) ?? []
        return name === undefined || content === undefined
          ? wrong(HEADER, "is not a header such as Authorization: Bearer and a token")
          : Effect.succeed([name.toLowerCase(), Redacted.make(content)] as const)
      }
    ),
    Object.fromEntries
  )

const checked = (options: Omit<Options, "root">, writes: boolean): Effect.Effect<void, CliError> =>
  Effect.gen(function* () {
    const { publicKey, signer } = yield* Effect.promise(() => import("@tessera/store/remote"))
    if (!URL.canParse(options.url) || !/^https?:$/.test(new URL(options.url).protocol))
      return yield* wrong(REMOTE, "is not an address; it looks like https://cache.example/tessera")
    for (const key of options.trustedKeys ?? [])
      yield* Effect.mapError(publicKey(key), (error) => wrong(TRUSTED, error.message))
    if (options.signingKey !== undefined)
      yield* Effect.mapError(signer(Redacted.value(options.signingKey)), (error) =>
        wrong(SIGNING, error.message)
      )
    else if (writes)
      return yield* wrong(
        MODE,
        `is read-write, but ${SIGNING} names no key to sign with`,
        `See tessera keys --help.`
      )
    else if (options.trustedKeys?.length === 0)
      return yield* wrong(
        REMOTE,
        `no result of it would be believed: say whose in ${TRUSTED}`,
        "Whoever writes to it has the key: tessera keys public <private key file>."
      )
  })

const told = (error: ConfigError.ConfigError): CliError => {
  // The one setting that is wrong, with the value that it has.
  const [where = REMOTE, detail = error.message] =
    error._op === "InvalidData" || error._op === "MissingData" ? [error.path.join("."), error.message] : []
  return wrong(where, detail)
}

/** The remote that the environment names, if it names one. */
export const settings = (
  mode: "read" | "read-write"
): Effect.Effect<Option.Option<Omit<Options, "root">>, CliError> =>
  Effect.gen(function* () {
    const named = yield* Config.option(Config.nonEmptyString(REMOTE))
    if (Option.isNone(named)) return Option.none()
    const found = yield* variables
    const signing = yield* Effect.transposeOption(Option.map(found.signing, signingKey))
    const header = yield* Effect.transposeOption(Option.map(found.header, headers))
    const allowed = Option.getOrElse(found.mode, () => (Option.isSome(signing) ? "read-write" : "read"))
    const options: Omit<Options, "root"> = {
      url: Redacted.value(found.url),
      mode: mode === "read" ? "read" : allowed,
      trustedKeys: yield* trustedKeys(found.trusted),
      timeout: found.timeout,
      ...(Option.isSome(signing) ? { signingKey: signing.value } : {}),
      ...(Option.isSome(header) ? { headers: header.value } : {})
    }
    yield* checked(options, allowed === "read-write")
    return Option.some(options)
  }).pipe(Effect.catchTag("ConfigError", (error) => Effect.fail(told(error))))
