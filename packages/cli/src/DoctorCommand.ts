/**
 * The verb about the machine.
 */
import { Command, Options } from "@effect/cli"
import { Effect } from "effect"
import { common, help, lazy } from "./CommandParts.js"

export const doctor = Command.make(
  "doctor",
  {
    install: Options.text("install").pipe(
      Options.withPseudoName("name"),
      Options.withDescription(
        "Make the Python environment that a plugin needs, first: torch. Interrupted, it goes on from there when run again."
      ),
      Options.optional
    ),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/doctor.js")),
      ({ doctor }) => doctor(args)
    )
).pipe(
  Command.withDescription(
    help(
      "Checks what pipelines need of this machine, and says what to do; ends with 1 where something is wrong.",
      [
        ["doctor", "Node, the store, disk, GPUs, and PyTorch where its plugin is installed."],
        ["doctor --install torch", "Makes a Python environment with PyTorch in the user's cache folder."]
      ]
    )
  )
)
