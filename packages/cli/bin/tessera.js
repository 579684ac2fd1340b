#!/usr/bin/env node
// Pipelines and workspace packages are TypeScript. Packages that are not are imported before the TypeScript loader
// starts: through it they would take twice as long, and a module once loaded is not loaded again.
import { createRequire, register as registerHooks } from "node:module"
import { delimiter, join } from "node:path"
import { pathToFileURL } from "node:url"

// Imports that the folder of a pipeline file lacks resolve from the current folder, then from the command's. The loader
// learns it from the hooks below; what reads code without running it (keys) from NODE_PATH.
const cwd = pathToFileURL(join(process.cwd(), "/")).href
const fallbacks = [cwd, import.meta.url].flatMap((from) => createRequire(from).resolve.paths("effect") ?? [])
process.env.NODE_PATH = [...new Set([process.env.NODE_PATH ?? "", ...fallbacks])]
  .filter(Boolean)
  .join(delimiter)

const wantsHelp = process.argv.length <= 3 || process.argv.some((arg) => arg === "--help" || arg === "-h")
await Promise.all([
  import("effect"),
  import("@effect/cli"),
  import("@effect/platform-node/NodeContext"),
  wantsHelp ? undefined : import("apache-arrow")
])
const { register } = await import("tsx/esm/api")
// No tsconfig: a pipeline must not depend on which folder the command is started in.
register({ tsconfig: false })
registerHooks("./resolve.js", import.meta.url, { data: { own: import.meta.url, cwd } })
await import("../src/main.ts")
