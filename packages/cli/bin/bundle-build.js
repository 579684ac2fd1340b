// Makes the bundle of bundle.js: `node bundle-build.js`. Ends without one where it cannot be made or kept.
import { spawnSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { createRequire } from "node:module"
import { constants, setPriority } from "node:os"
import { basename, dirname, join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import * as esbuild from "esbuild"
import {
  folders,
  FORMAT,
  home,
  IMPORT,
  installed,
  load,
  lock,
  main,
  paths,
  scripts,
  settled,
  sha256
} from "./bundle.js"

// Packages that find files of their own beside their code, and large ones that few starts need.
const external = /^(esbuild|tsx|@hpcc-js\/wasm-graphviz|onnxruntime-node|vega|vega-lite)($|\/)/
const source = /\.[cm]?[jt]s$/
const packages = new Map()
/** The folder of the package that a file belongs to, and its manifest. */
const packageOf = (file) => {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const known = packages.get(folder)
    if (known !== undefined) return known
    try {
      const text = readFileSync(join(folder, "package.json"), "utf8")
      const { name } = JSON.parse(text)
      if (name !== undefined) {
        const found = { name, file: join(folder, "package.json"), digest: sha256(text) }
        packages.set(folder, found)
        return found
      }
    } catch {}
    if (dirname(folder) === folder) return { name: "" }
  }
}
const isOwn = (file) => packageOf(file).name.startsWith("@tessera/")
/** Modules that pipelines import too: two copies of one would not recognise each other's values. */
const isShared = (file) => isOwn(file) || /^(effect|@effect\/.+|apache-arrow)$/.test(packageOf(file).name)

/** Digests of this project's files, of the very bytes that went into the bundle. */
const digests = new Map()

const plugin = (entry) => ({
  name: "tessera",
  setup: (build) => {
    build.onResolve({ filter: /^tessera:entry$/ }, ({ path }) => ({ path, namespace: "tessera" }))
    build.onLoad({ filter: /.*/, namespace: "tessera" }, () => ({
      contents: entry,
      loader: "js",
      resolveDir: home
    }))
    build.onResolve({ filter: external }, ({ path, resolveDir, kind }) => {
      const file = createRequire(join(resolveDir, "_")).resolve(path)
      return { path: kind === "dynamic-import" ? pathToFileURL(file).href : file, external: true }
    })
    build.onLoad({ filter: source }, ({ path }) => {
      const bytes = readFileSync(path)
      if (isOwn(path)) digests.set(path, sha256(bytes))
      const text = bytes.toString("utf8")
      const loader = path.endsWith("ts") ? "ts" : "js"
      // The bytes that were digested, not what the file holds by the time that it is read again.
      if (!text.includes("import.meta.url")) return isOwn(path) ? { contents: text, loader } : undefined
      const url = JSON.stringify(pathToFileURL(path).href)
      return { contents: `const __tessera_url = ${url};${text}`, loader }
    })
  }
})

const bundle = (entry, options) =>
  esbuild.build({
    entryPoints: ["tessera:entry"],
    absWorkingDir: home,
    outfile: join(home, "bundle.cjs"),
    write: false,
    metafile: true,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: `node${process.versions.node}`,
    minifyWhitespace: true,
    legalComments: "none",
    logLevel: "silent",
    define: { "import.meta.url": "__tessera_url" },
    plugins: [plugin(entry)],
    ...options
  })

const entryOf = (files) =>
  `module.exports = {${files.map((file) => `${JSON.stringify(file)}: () => require(${JSON.stringify(file)})`).join(",")}}`

const inputs = ({ metafile }, only) =>
  Object.entries(metafile.inputs)
    .filter(([file, input]) => !file.startsWith("tessera:") && only(input))
    .map(([file]) => resolve(home, file))

/** Modules in the order in which the command loads them: of those that import each other it matters which comes first. */
const order = ({ inputs }, shared) => {
  const imports = Object.entries(inputs).find(([file]) => resolve(home, file) === main)?.[1].imports ?? []
  const first = imports.filter(({ external }) => external !== true).map(({ path }) => resolve(home, path))
  return [...new Set([...first, ...shared.filter(isOwn), ...shared])].filter(
    (file) => file !== main && shared.includes(file)
  )
}

const textOf = ({ outputFiles }) => {
  const text = outputFiles[0].text
    .replaceAll(/(?<![.\w$])import\(/g, `${IMPORT}(`)
    // CommonJS packages in it are not all written for strict mode: parquetjs-lite assigns to what it never declared.
    .replace(/^"use strict";/, "")
  // The script is read byte by byte: esbuild escapes what is not ASCII, and says so here if it ever does not.
  if (Buffer.byteLength(text) !== text.length) throw new Error("the bundle is not ASCII")
  return text
}

const make = async (folder) => {
  const before = installed()
  const shared = inputs(await bundle(entryOf([main])), ({ format }) => format === "esm").filter(isShared)
  digests.clear()
  // Alone, the command needs a part of what pipelines may import, and names of functions nowhere.
  const alone = await bundle("", { entryPoints: [main], minify: true })
  const result = await bundle(entryOf([...new Set([main, ...shared])]), { keepNames: true })
  const used = inputs(result, () => true)
  const texts = { command: textOf(alone), pipelines: textOf(result) }
  const id = `${sha256(texts.pipelines).slice(0, 16)}-${process.pid}`
  const at = join(folder, id)
  mkdirSync(at, { recursive: true })
  for (const [kind, text] of Object.entries(texts))
    writeFileSync(scripts(at)[kind].script, text, { encoding: "latin1", flush: true })
  // The names that each module exports are known once it is loaded. The command itself would start.
  const { pipelines } = scripts(at)
  const modules = load({ ...pipelines, source: readFileSync(pipelines.script, "latin1") })
  for (const file of order(result.metafile, shared)) modules[file]()
  const exports = Object.fromEntries(
    shared
      .filter((file) => file !== main)
      .map((file) => [pathToFileURL(file).href, Object.keys(modules[file]())])
  )
  writeFileSync(pipelines.exports, JSON.stringify(exports))
  for (const file of used) packageOf(file)
  const read = new Map([...digests, ...[...packages.values()].map(({ file, digest }) => [file, digest])])
  const files = [...read].map(([file, digest]) => {
    const stamp = settled(file)
    return sha256(readFileSync(file)) === digest ? [file, digest, stamp] : [file, digest]
  })
  const sizes = { command: texts.command.length, pipelines: texts.pipelines.length }
  const manifest = { format: FORMAT, folder: id, sizes, installed: before, files }
  if (installed() !== before) throw new Error("packages were installed meanwhile")
  const partial = `${paths(folder).manifest}.${process.pid}`
  writeFileSync(partial, JSON.stringify(manifest))
  renameSync(partial, paths(folder).manifest)
  // First starts, to keep the code that they compile, each added to the last, and what they say of the verbs.
  const start = (args) =>
    spawnSync(process.execPath, [fileURLToPath(new URL("tessera.js", import.meta.url)), ...args], {
      env: { ...process.env, TESSERA_BUNDLE: "keep", FORCE_COLOR: "1", NO_COLOR: "" },
      encoding: "utf8"
    })
  start(["log"])
  start(["plan", "no-pipeline.ts"])
  const verbs = existsSync(join(home, "src/verbs")) ? readdirSync(join(home, "src/verbs")) : []
  const helps = ["", ...verbs.map((file) => basename(file, ".ts"))].flatMap((verb) => {
    const { status, stdout } = start([...(verb === "" ? [] : [verb]), "--help"])
    return status === 0 ? [[verb, stdout]] : []
  })
  const { help } = scripts(at)
  writeFileSync(`${help}.partial`, JSON.stringify(Object.fromEntries(helps)))
  renameSync(`${help}.partial`, help)
}

/** Earlier bundles; not those that a command may be starting from just now, nor anything else that lies here. */
const sweep = (folder) => {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    const isBundle = entry.isDirectory() && /^[0-9a-f]{16}-\d+$/.test(entry.name)
    const isOld = Date.now() - statSync(path).mtimeMs > 600_000
    if (isBundle && isOld && !existsIn(folder).includes(entry.name))
      rmSync(path, { recursive: true, force: true })
  }
}
const existsIn = (folder) =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .flatMap((file) => {
      try {
        return [JSON.parse(readFileSync(join(folder, file), "utf8")).folder]
      } catch {
        return []
      }
    })

setPriority(constants.priority.PRIORITY_LOW)
for (const folder of folders) {
  const release = lock(folder)
  if (release === undefined) continue
  try {
    await make(folder)
    sweep(folder)
  } finally {
    release()
  }
  break
}
