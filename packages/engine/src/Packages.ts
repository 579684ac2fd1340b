/**
 * Which installed package an import means, and what identifies that package: name, version and, where a lockfile is
 * found, its integrity.
 */
import { existsSync, readFileSync, realpathSync } from "node:fs"
import { isBuiltin } from "node:module"
import { delimiter, dirname, join, relative, sep } from "node:path"
import { load } from "js-yaml"
import { Option, Schema } from "effect"

const PackageJson = Schema.Struct({
  name: Schema.optional(Schema.String),
  version: Schema.optional(Schema.String),
  sideEffects: Schema.optional(Schema.Unknown),
  dependencies: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }))
})
type PackageJson = typeof PackageJson.Type

const Resolution = Schema.Struct({
  resolution: Schema.optional(Schema.Struct({ integrity: Schema.optional(Schema.String) }))
})
const PnpmLock = Schema.Struct({ packages: Schema.Record({ key: Schema.String, value: Resolution }) })
const NpmLock = Schema.Struct({
  packages: Schema.Record({
    key: Schema.String,
    value: Schema.Struct({
      integrity: Schema.optional(Schema.String),
      version: Schema.optional(Schema.String)
    })
  })
})

/** One package outside the source tree. */
export interface External {
  readonly folder: string
  readonly name: string
  readonly version: string
  /** Imports of it that nothing uses can be dropped. */
  readonly pure: boolean
  readonly dependencies: ReadonlyArray<string>
}

const memo = <A>(compute: (key: string) => A): ((key: string) => A) => {
  const known = new Map<string, A>()
  return (key) => {
    const found = known.get(key)
    if (found !== undefined || known.has(key)) return found as A
    const made = compute(key)
    known.set(key, made)
    return made
  }
}

const json = (file: string): unknown => {
  try {
    return JSON.parse(readFileSync(file, "utf8"))
  } catch {
    return undefined
  }
}

const manifestIn = memo((folder: string): PackageJson | undefined =>
  Option.getOrUndefined(Schema.decodeUnknownOption(PackageJson)(json(join(folder, "package.json"))))
)

const upward = function* (folder: string): Generator<string> {
  for (let here = folder; ; here = dirname(here)) {
    yield here
    if (dirname(here) === here) return
  }
}

/** `pkg` of `pkg/sub/path`, `@scope/pkg` of `@scope/pkg/sub/path`. */
const packageName = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/")

/** Where a package is looked for when no folder above its importer has it: NODE_PATH, as Node and bundlers read it. */
export const nodePaths: ReadonlyArray<string> = (process.env["NODE_PATH"] ?? "")
  .split(delimiter)
  .filter(existsSync)

const locate = memo((request: string): string | undefined => {
  const [folder = "", name = ""] = request.split("\0")
  for (const modules of [...upward(folder)].map((here) => join(here, "node_modules")).concat(nodePaths)) {
    const candidate = join(modules, name)
    if (existsSync(join(candidate, "package.json"))) return realpathSync(candidate)
  }
  return undefined
})

const external = memo((folder: string): External | undefined => {
  const manifest = manifestIn(folder)
  return manifest === undefined
    ? undefined
    : {
        folder,
        name: manifest.name ?? folder,
        version: manifest.version ?? "0.0.0",
        pure: manifest.sideEffects === false,
        dependencies: Object.keys(manifest.dependencies ?? {}).filter((name) => !name.startsWith("@types/"))
      }
})

const installed = (folder: string) => folder.includes(`${sep}node_modules${sep}`)

/**
 * What a bare import means: `"builtin"`, an installed package, or undefined where it is source (a linked workspace
 * package, a self-reference, a path alias) that belongs to the code itself.
 */
export const resolve = (specifier: string, importer: string): External | "builtin" | undefined => {
  if (isBuiltin(specifier)) return "builtin"
  const folder = locate(`${importer}\0${packageName(specifier)}`)
  return folder !== undefined && installed(folder) ? external(folder) : undefined
}

/** Integrities by `name@version`, of the nearest lockfile above a folder. */
const integritiesAt = memo((folder: string): ReadonlyMap<string, string> | undefined => {
  const pnpm = join(folder, "pnpm-lock.yaml")
  if (existsSync(pnpm)) {
    // Only the section with the integrities: parsing the whole file takes longer than bundling.
    const section = readFileSync(pnpm, "utf8")
      .split(/^(?=\S)/m)
      .find((text) => text.startsWith("packages:"))
    const lock = Schema.decodeUnknownOption(PnpmLock)(section === undefined ? undefined : load(section))
    return new Map(
      Option.match(lock, {
        onNone: () => [],
        onSome: ({ packages }) =>
          Object.entries(packages).flatMap(([id, { resolution }]): Array<[string, string]> =>
            resolution?.integrity === undefined ? [] : [[id, resolution.integrity]]
          )
      })
    )
  }
  const npm = join(folder, "package-lock.json")
  if (existsSync(npm)) {
    const lock = Schema.decodeUnknownOption(NpmLock)(json(npm))
    return new Map(
      Option.match(lock, {
        onNone: () => [],
        onSome: ({ packages }) =>
          Object.entries(packages).flatMap(([path, { integrity, version }]): Array<[string, string]> =>
            integrity === undefined ? [] : [[`${path.split("node_modules/").at(-1)}@${version}`, integrity]]
          )
      })
    )
  }
  return undefined
})

const integrity = (folder: string, id: string): string | undefined => {
  for (const here of upward(folder)) {
    const found = integritiesAt(here)
    if (found !== undefined) return found.get(id)
  }
  return undefined
}

/** `name@version integrity` of packages and of everything they depend on, sorted. */
export const closure = (packages: Iterable<External>): ReadonlyArray<string> => {
  const seen = new Set<string>()
  const ids = new Set<string>()
  const queue = [...packages]
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (seen.has(next.folder)) continue
    seen.add(next.folder)
    const id = `${next.name}@${next.version}`
    const lock = integrity(next.folder, id)
    ids.add(lock === undefined ? id : `${id} ${lock}`)
    for (const name of next.dependencies) {
      const found = resolve(name, next.folder)
      if (found !== undefined && found !== "builtin") queue.push(found)
    }
  }
  return [...ids].sort()
}

/** A file's name that is the same in every checkout: package and path within it, or the path from `base`. */
export const portableName = (file: string, base: string): string => {
  for (const here of upward(dirname(file))) {
    const name = manifestIn(here)?.name
    if (name !== undefined) return `${name}/${relative(here, file).split(sep).join("/")}`
  }
  return relative(base, file).split(sep).join("/")
}
