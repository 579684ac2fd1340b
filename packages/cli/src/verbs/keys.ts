/**
 * `tessera keys`: keys that sign the results which machines share.
 */
import { generateKeys, signer } from "@tessera/store/remote"
import { Effect } from "effect"
import { readFile, writeFile } from "node:fs/promises"
import { CliError } from "../Failure.js"
import * as Output from "../Output.js"

export interface KeysArgs {
  /** The file of the private key. */
  readonly file: string
  readonly json: boolean
}

const tell = ({ file, json }: KeysArgs, publicKey: string) =>
  json ? Output.json({ file, publicKey }) : Output.out(publicKey)

/** Makes a pair of keys. */
export const make = (args: KeysArgs) =>
  Effect.gen(function* () {
    const { pem, publicKey } = generateKeys()
    yield* Effect.tryPromise({
      // Only its owner may read it, and no key that is in use is lost.
      try: () => writeFile(args.file, pem, { mode: 0o600, flag: "wx" }),
      catch: (cause) =>
        new CliError({
          reason: "Output",
          where: args.file,
          detail:
            cause instanceof Error && "code" in cause && cause.code === "EEXIST"
              ? "is there already, and a key is not written over; choose another name"
              : `cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`
        })
    })
    yield* tell(args, publicKey)
    if (!args.json) {
      yield* Output.err(
        `${args.file} is the private key: keep it where results are made (TESSERA_SIGNING_KEY).`
      )
      yield* Output.err("The line above is the public key: for who uses them (TESSERA_TRUSTED_KEYS).")
    }
  })

/** The public key of a private one. */
export const show = (args: KeysArgs) =>
  Effect.gen(function* () {
    const wrong = (detail: string) => new CliError({ reason: "Parameter", where: args.file, detail })
    const pem = yield* Effect.tryPromise({
      try: () => readFile(args.file, "utf8"),
      catch: (cause) => wrong(`cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
    })
    const key = yield* Effect.mapError(signer(pem), (error) => wrong(error.detail))
    yield* tell(args, key.publicKey)
  })
