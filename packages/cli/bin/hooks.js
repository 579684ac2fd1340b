// Runs on the loader's own thread. Where a pipeline file's folder lacks a package, the command's own is used; `effect`
// is always the command's, because two copies do not recognise each other's values. For the same reason a module that is
// in the command's bundle is taken from there.
import { readFileSync } from "node:fs"

let own
let cwd
let bundled = {}

export const initialize = (data) => {
  own = data.own
  cwd = data.cwd
  if (data.exports !== undefined) bundled = JSON.parse(readFileSync(data.exports, "utf8"))
}

const singleton = /^(effect|@effect\/[^/]+)($|\/)/
const bare = /^[^./#:][^:]*$/
const missing = new Set(["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"])

export const resolve = async (specifier, context, next) => {
  if (!bare.test(specifier)) {
    const found = await next(specifier, context)
    // Without a package.json that says otherwise Node takes .ts for CommonJS, and would load a second copy of effect.
    return /\.ts(\?|$)/.test(found.url) && found.format === "commonjs"
      ? { ...found, format: "module" }
      : found
  }
  // Kept, because Node writes what it is given into the context.
  const { parentURL: parent } = context
  const from = (parentURL) => next(specifier, { ...context, parentURL })
  if (singleton.test(specifier)) return from(own).catch(() => from(parent))
  return next(specifier, context).catch((error) =>
    missing.has(error.code)
      ? from(cwd).catch(() => from(own).catch(() => Promise.reject(error)))
      : Promise.reject(error)
  )
}

/** A module whose exports are those of the bundle's. */
const facade = (url, names) => {
  const path = JSON.stringify(decodeURIComponent(new URL(url).pathname))
  const lines = names.map(
    (name, i) => `const _${i} = module[${JSON.stringify(name)}]; export { _${i} as ${JSON.stringify(name)} };`
  )
  return `const module = globalThis[Symbol.for("tessera.bundle")][${path}]();\n${lines.join("\n")}`
}

export const load = async (url, context, next) => {
  const plain = url.replace(/[?#].*$/, "")
  const names = bundled[plain]
  return names === undefined
    ? next(url, context)
    : { format: "module", source: facade(plain, names), shortCircuit: true }
}
