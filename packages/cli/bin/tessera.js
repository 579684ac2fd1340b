#!/usr/bin/env node
// Pipelines and workspace packages are TypeScript. Packages that are not are imported before the TypeScript loader
// starts: through it they would take twice as long, and a module once loaded is not loaded again.
import { register as registerHooks } from "node:module"
import { pathToFileURL } from "node:url"

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
registerHooks("./resolve.js", import.meta.url, {
  data: { own: import.meta.url, cwd: pathToFileURL(`${process.cwd()}/`).href }
})
await import("../src/main.ts")
