/**
 * The program: parses the command line, runs the verb, tells what went wrong, and ends with the right exit code.
 */
import { Command, ValidationError } from "@effect/cli"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Cause, Console, Effect, Exit, Option } from "effect"
import { readFileSync } from "node:fs"
import { constants } from "node:os"
import { stripVTControlCharacters } from "node:util"
import { flags, isVerb, tessera } from "./Commands.js"
import { ExitCode, fromCause } from "./Failure.js"
import { nearest } from "./Nearest.js"
import * as Output from "./Output.js"
import * as Style from "./Style.js"

// `--param=a=b`: the parser takes an `=` of its own only once.
const argv = process.argv.flatMap((arg) => {
  const [, flag, value] = /^(--(?:param|set))=(.*)$/s.exec(arg) ?? []
  return flag === undefined || value === undefined ? [arg] : [flag, value]
})
const verb = argv[2] ?? ""
const wantsJson = argv.includes("--json")
const verbose = argv.includes("--verbose") || (process.env["TESSERA_DEBUG"] ?? "") !== ""
const version = (): string =>
  (
    JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
      readonly version: string
    }
  ).version

/** What the parser says about a wrong command line is kept, to be told like any other failure. */
let said = ""

/** The parser colours its help always. */
const parserConsole = Effect.map(Effect.console, (console): Console.Console => ({
  ...console,
  log: (...args) => {
    const text = args.map(String).join(" ")
    return Output.out(Output.style === Style.none ? stripVTControlCharacters(text) : text)
  },
  error: (...args) =>
    Effect.sync(() => void (said += stripVTControlCharacters(args.map(String).join(" ")).trim()))
}))

// What a pipeline file prints must not get between results.
for (const method of ["log", "info", "debug"] as const) {
  console[method] = (...args: ReadonlyArray<unknown>) => console.error(...args)
}

/** The parser takes a misspelt option for an argument, and then complains about what follows it. */
const usageMessage = (): string => {
  const known = flags(verb)
  const wrong = argv.slice(3).find((arg, i, all) => {
    const valueOf = all[i - 1] ?? ""
    const isValue = known.includes(valueOf) && !/^--(json|verbose)$/.test(valueOf)
    return /^--?[a-z]/.test(arg) && !isValue && !known.includes(arg.replace(/=.*$/s, ""))
  })
  if (wrong === undefined) return said
  const near = nearest(wrong, known)
  return `unknown option ${wrong}${near === undefined ? "" : `; did you mean ${near}?`}`
}

const tell = (cause: Cause.Cause<unknown>): Effect.Effect<number> =>
  Effect.gen(function* () {
    const told = fromCause(cause)
    const isUsage = Option.exists(Cause.failureOption(cause), ValidationError.isValidationError)
    const failure = isUsage
      ? { ...told, message: usageMessage(), hint: `See tessera ${isVerb(verb) ? `${verb} ` : ""}--help.` }
      : told
    if (wantsJson) yield* Output.out(JSON.stringify(failure))
    else {
      const style = Style.of(process.stderr)
      yield* Output.err(`${style.bad("✗")} ${failure.message}`)
      if (failure.hint !== undefined) yield* Output.err(`  ${style.dim(failure.hint)}`)
    }
    if (verbose) yield* Output.err(Cause.pretty(cause, { renderErrorCause: true }))
    return failure.exit
  })

const program = Effect.gen(function* () {
  const console = yield* parserConsole
  const command = Command.run(tessera, { name: "tessera", version: version() })
  return yield* Effect.withConsole(command(argv), console)
}).pipe(Effect.provide(NodeContext.layer))

const fiber = Effect.runFork(program)
// Without it a fiber that waits for nothing the event loop knows would let the process end early.
const alive = setInterval(() => undefined, 2 ** 31 - 1)

/** The code to end with when the run was stopped from outside. */
let stopped: number | undefined
const stop = (code: number) => {
  stopped ??= code
  fiber.unsafeInterruptAsFork(fiber.id())
}
// Once: the second Ctrl-C is Node's to handle, and ends the process at once.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => stop(128 + constants.signals[signal]))
}
process.stdout.on("error", () => stop(128 + constants.signals.SIGPIPE))
process.stderr.on("error", () => undefined)

fiber.addObserver((exit) => {
  const code = Exit.isSuccess(exit) ? Effect.succeed(ExitCode.ok) : tell(exit.cause)
  Effect.runFork(code).addObserver((told) => {
    clearInterval(alive)
    process.exit(stopped ?? (Exit.isSuccess(told) ? told.value : ExitCode.stage))
  })
})
