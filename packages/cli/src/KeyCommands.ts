/**
 * The verb about keys, which a remote store needs.
 */
import { Args, Command } from "@effect/cli"
import { Effect } from "effect"
import { common, help, lazy } from "./CommandParts.js"

const keyFile = {
  file: Args.text({ name: "file" }).pipe(Args.withDescription("The file of the private key.")),
  json: common.json,
  verbose: common.verbose
}

const keysNew = Command.make("new", keyFile, (args) =>
  Effect.flatMap(
    lazy(() => import("./verbs/keys.js")),
    (keys) => keys.make(args)
  )
).pipe(
  Command.withDescription(
    help("Makes a pair of Ed25519 keys: writes the private key to a new file, prints the public one.", [
      ["keys new ci.key", "ci.key signs; the printed key is what others trust."]
    ])
  )
)

const keysPublic = Command.make("public", keyFile, (args) =>
  Effect.flatMap(
    lazy(() => import("./verbs/keys.js")),
    (keys) => keys.show(args)
  )
).pipe(
  Command.withDescription(
    help("Prints the public key of a private one.", [
      ["keys public ci.key", "What others put into TESSERA_TRUSTED_KEYS."]
    ])
  )
)

export const keys = Command.make("keys").pipe(
  Command.withDescription(
    help(
      "Keys for a remote store. Results are signed with the key in TESSERA_SIGNING_KEY, and believed if one of TESSERA_TRUSTED_KEYS signed them.",
      [
        ["keys new ci.key", "Makes a pair."],
        ["keys public ci.key", "Tells the public key again."]
      ]
    )
  ),
  Command.withSubcommands([keysNew, keysPublic])
)
