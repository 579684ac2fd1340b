// Runs on the loader's own thread. Where a pipeline file's folder lacks a package, the command's own is used; `effect`
// is always the command's, because two copies do not recognise each other's values.
let own
let cwd

export const initialize = (data) => {
  own = data.own
  cwd = data.cwd
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
  const from = (parentURL) => next(specifier, { ...context, parentURL })
  if (singleton.test(specifier)) return from(own).catch(() => next(specifier, context))
  return next(specifier, context).catch((error) =>
    missing.has(error.code)
      ? from(cwd).catch(() => from(own).catch(() => Promise.reject(error)))
      : Promise.reject(error)
  )
}
