#!/usr/bin/env node
// Starts the command: from its bundle where there is one, from its files otherwise. Pipelines and workspace packages are
// TypeScript; packages that are not are imported before the TypeScript loader starts: through it they would take twice as
// long, and a module once loaded is not loaded again.
import { createRequire, register as registerHooks } from "node:module"
import { delimiter, join } from "node:path"
import { pathToFileURL } from "node:url"
import { stripVTControlCharacters } from "node:util"
import * as bundle from "./bundle.js"

// Imports that the folder of a pipeline file lacks resolve from the current folder, then from the command's. The loader
// learns it from the hooks below; what reads code without running it (keys) from NODE_PATH.
const cwd = pathToFileURL(join(process.cwd(), "/")).href
const fallbacks = [cwd, import.meta.url].flatMap((from) => createRequire(from).resolve.paths("effect") ?? [])
process.env.NODE_PATH = [...new Set([process.env.NODE_PATH ?? "", ...fallbacks])]
  .filter(Boolean)
  .join(delimiter)

const typescript = async (exports) => {
  const { register } = await import("tsx/esm/api")
  // No tsconfig: a pipeline must not depend on which folder the command is started in.
  register({ tsconfig: false })
  registerHooks("./hooks.js", import.meta.url, { data: { own: import.meta.url, cwd, exports } })
}

const wantsHelp =
  (process.argv.length <= 3 && process.argv[2] !== "doctor") ||
  process.argv.some((arg) => arg === "--help" || arg === "-h")
/** Verbs that load no pipeline. */
const readsStore = [
  "show",
  "log",
  "diff",
  "gc",
  "pin",
  "export",
  "import",
  "keys",
  "plan-info",
  "plan-convert"
].includes(process.argv[2])

const fromFiles = async () => {
  await Promise.all([
    import("effect"),
    import("@effect/cli"),
    import("@effect/platform-node/NodeContext"),
    wantsHelp ? undefined : import("apache-arrow"),
    process.env.TESSERA_REMOTE ? import("@effect/platform-node/NodeHttpClient") : undefined
  ])
  await typescript(undefined)
  await import("../src/main.ts")
}

// `off`: only the files. `keep`: the compiled code of this start is kept with the bundle.
const setting = process.env.TESSERA_BUNDLE
const isVersion = process.argv.length === 3 && process.argv[2] === "--version"
const alone = wantsHelp || readsStore
/** The help that is asked for as it was said before, coloured as in Style.ts: laying it out takes longer than all else. */
const keptHelp = () => {
  const [verb = "--help", flag, ...more] = process.argv.slice(2)
  const asks = (arg) => arg === "--help" || arg === "-h"
  const asked = asks(verb) && flag === undefined ? "" : asks(flag) && !asks(verb) ? verb : undefined
  if (asked === undefined || more.length > 0) return undefined
  const says = (variable) => (process.env[variable] ?? "") !== ""
  const isTerminal = process.stdout.isTTY && process.env.TERM !== "dumb"
  const help = bundle.help(asked)
  return !says("NO_COLOR") && (says("FORCE_COLOR") || isTerminal)
    ? help
    : help && stripVTControlCharacters(help)
}

const fast = isVersion
  ? `${createRequire(import.meta.url)("../package.json").version}\n`
  : setting === undefined && wantsHelp
    ? keptHelp()
    : undefined
const found =
  setting === "off" || fast !== undefined ? undefined : bundle.find(alone ? "command" : "pipelines")
if (fast !== undefined) {
  process.stdout.write(fast)
} else if (found !== undefined) {
  const modules = bundle.load(found, setting === "keep")
  if (!alone) {
    globalThis[Symbol.for("tessera.bundle")] = modules
    await typescript(found.exports)
    modules[bundle.main]()
  }
} else {
  if (setting !== "off" && process.env.CI === undefined) void bundle.build()
  await fromFiles()
}
