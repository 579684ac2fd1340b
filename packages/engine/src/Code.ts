/**
 * The code part of a key: the digest of a module with everything it imports. Comments, white space, names of local
 * variables' files and the place of the checkout do not change it; an edit of any function it can reach does.
 */
import { readFile, realpath } from "node:fs/promises"
import { dirname, parse, resolve as resolvePath } from "node:path"
import { fileURLToPath } from "node:url"
import { sha256 } from "@tessera/core"
import { Effect, Schema } from "effect"
import * as esbuild from "esbuild"
import { EngineError } from "./Errors.js"
import * as Packages from "./Packages.js"

/** What a code digest stands for, kept in the store so that `explain` can name the file that changed. */
export const CodeRecord = Schema.Struct({
  /** Portable file name → digest of its code without comments and white space. */
  files: Schema.Record({ key: Schema.String, value: Schema.String }),
  /** `name@version integrity` of every package outside. */
  packages: Schema.Array(Schema.String)
}).annotations({ identifier: "CodeRecord" })
export type CodeRecord = typeof CodeRecord.Type

export interface Code {
  readonly digest: string
  readonly packages: ReadonlyArray<string>
  /** Source files, absolute. */
  readonly files: ReadonlyArray<string>
  /** The entry; of assets, what was declared. */
  readonly module: string
  /** Assets: every byte of the files counts. */
  readonly verbatim?: true
}

const failed = (module: string, cause: unknown) =>
  new EngineError({
    reason: "Code",
    where: module,
    detail: `its code cannot be bundled, so nothing can be cached under it: ${why(cause)}`,
    cause
  })

const why = (cause: unknown): string => {
  const first = (cause as Partial<esbuild.BuildFailure>).errors?.[0]
  if (first === undefined) return cause instanceof Error ? cause.message : String(cause)
  const at = first.location
  return at === null ? first.text : `${resolvePath(root, at.file)}:${at.line}: ${first.text}`
}

const root = parse(process.cwd()).root

// Import paths of packages carry name and version, so the bundle's text already tells which package is meant.
const outside = (used: Map<string, Packages.External>): esbuild.Plugin => ({
  name: "tessera-packages",
  setup: (build) => {
    build.onResolve({ filter: /^[^./#]/ }, ({ path, resolveDir, kind }) => {
      if (kind === "entry-point" || resolveDir === "") return undefined
      const found = Packages.resolve(path, resolveDir)
      if (found === undefined) return undefined
      if (found === "builtin") return { path, external: true, sideEffects: false }
      const id = `npm:${found.name}@${found.version}${path.slice(found.name.length)}`
      used.set(id, found)
      return { path: id, external: true, sideEffects: !found.pure }
    })
  }
})

const bundle = async (modules: ReadonlyArray<string>): Promise<ReadonlyArray<Code>> => {
  const files = await Promise.all(
    modules.map((module) => realpath(fileURLToPath(new URL(module.split("?")[0] ?? module))))
  )
  const used = new Map<string, Packages.External>()
  const result = await esbuild.build({
    entryPoints: files.map((file, i) => ({ in: file, out: `${i}` })),
    absWorkingDir: root,
    outdir: resolvePath(root, "out"),
    write: false,
    metafile: true,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "esnext",
    treeShaking: true,
    minifyWhitespace: true,
    // Without it the names of files get into variables and module wrappers.
    minifyIdentifiers: true,
    keepNames: true,
    legalComments: "none",
    charset: "utf8",
    logLevel: "silent",
    loader: { ".node": "empty" },
    nodePaths: [...Packages.nodePaths],
    plugins: [outside(used)]
  })
  const outputs = Object.values(result.metafile.outputs)
  return modules.map((module, i) => {
    const text = result.outputFiles.find((file) => file.path === resolvePath(root, "out", `${i}.js`))?.text
    const meta = outputs.find(
      (output) => output.entryPoint !== undefined && resolvePath(root, output.entryPoint) === files[i]
    )
    if (text === undefined || meta === undefined) throw new Error("esbuild left it out")
    const packages = Packages.closure(
      meta.imports.flatMap(({ path }) => {
        const found = used.get(path)
        return found === undefined ? [] : [found]
      })
    )
    return {
      module,
      packages,
      files: Object.entries(meta.inputs)
        .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
        .map(([file]) => resolvePath(root, file)),
      digest: sha256(["tessera.code.v1", sha256(text), ...packages].join("\n"))
    }
  })
}

// Node loads a module once per process, so its code cannot change under us.
const known = new Map<string, Promise<Code>>()

/** Digests modules, all unknown ones in one go, in the order given. */
export const digests = (modules: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Code>, EngineError> =>
  Effect.tryPromise({
    try: async () => {
      const missing = [...new Set(modules)].filter((module) => !known.has(module))
      if (missing.length > 0) {
        const work = bundle(missing)
        missing.forEach((module, i) => {
          const one = work.then((codes) => codes[i] as Code)
          one.catch(() => known.delete(module))
          known.set(module, one)
        })
      }
      return await Promise.all(modules.map((module) => known.get(module) as Promise<Code>))
    },
    catch: (cause) => failed(modules.join(", "), cause)
  }).pipe(
    // One bad module must not hide behind the others.
    Effect.catchAll((error) =>
      modules.length > 1
        ? Effect.forEach(modules, (module) => Effect.map(digests([module]), ([code]) => code as Code))
        : Effect.fail(error)
    )
  )

/** One digest for several modules: a stage's and those its services named. */
export const combine = (codes: ReadonlyArray<Code>): string => {
  const all = [...new Set(codes.map((code) => code.digest))]
  const [first = "", ...rest] = all
  return rest.length === 0 ? first : sha256(["tessera.code.v1+", first, ...rest.sort()].join("\n"))
}

/** A file's content as far as it decides results: without comments and white space, where it is ours to parse. */
const content = async (file: string, verbatim: boolean): Promise<string | Uint8Array> => {
  const script = /\.[cm]?(ts|js)(x?)$/.exec(file)
  if (verbatim || script === null) return await readFile(file)
  const { code } = await esbuild.transform(await readFile(file, "utf8"), {
    loader: script[1] === "js" ? "jsx" : script[2] === "x" ? "tsx" : "ts",
    minifyWhitespace: true,
    legalComments: "none",
    target: "esnext",
    logLevel: "silent"
  })
  return code
}

/** The record of one or several modules. */
export const record = (codes: ReadonlyArray<Code>): Effect.Effect<CodeRecord, EngineError> =>
  Effect.tryPromise({
    try: async () => {
      const base = dirname(fileURLToPath(new URL(codes[0]?.module.split("?")[0] ?? "")))
      const files = new Map(
        codes.flatMap(({ files, verbatim = false }) => files.map((file) => [file, verbatim]))
      )
      const entries = await Promise.all(
        [...files].map(
          async ([file, verbatim]) =>
            [Packages.portableName(file, base), sha256(await content(file, verbatim))] as const
        )
      )
      return {
        files: Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1))),
        packages: [...new Set(codes.flatMap((code) => code.packages))].sort()
      }
    },
    catch: (cause) => failed(codes.map((code) => code.module).join(", "), cause)
  })
