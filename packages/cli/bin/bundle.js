// The command in one script: its modules and the packages they import, bundled once and kept with V8's compiled code.
// Module by module they take a second to load, from here a tenth of that. There are two: `pipelines` has every module that
// a pipeline may import, which gets the very same ones (hooks.js); `command` only what verbs that load no pipeline need.
//
// A bundle is used only where it is certain to be what the files say: every file of this project is the one that was read
// or has the digest it had, no package was installed since, and it is the same Node. Whatever is off, the files
// themselves are loaded, and a new bundle is made in the background for the next start.
import { createHash } from "node:crypto"
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { createRequire } from "node:module"
import { homedir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { debuglog } from "node:util"
import vm from "node:vm"

/** Counted up when a bundle of an earlier version of these files cannot be read any more. */
export const FORMAT = 3

/** What a bundle calls instead of `import()`, which scripts with kept code have lost. */
export const IMPORT = "__tessera_import"

const log = debuglog("tessera")

/** The folder of the command's package. */
export const home = realpathSync(fileURLToPath(new URL("..", import.meta.url)))
export const main = join(home, "src/main.ts")

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex")

/** One bundle for each place of the command and version of Node. */
const name = sha256([FORMAT, home, process.version, process.arch].join("\n")).slice(0, 16)

/** Beside the packages, or where those cannot be written, with the user's caches. */
export const folders = [
  join(home, "node_modules/.cache/tessera"),
  join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tessera/command")
]
export const paths = (folder) => ({
  manifest: join(folder, `${name}.json`),
  lock: join(folder, `${name}.building`)
})

/** What the folder of a bundle holds. */
export const scripts = (at) => ({
  command: { script: join(at, "command.cjs"), code: join(at, "command.code") },
  help: join(at, "help.json"),
  pipelines: {
    script: join(at, "pipelines.cjs"),
    code: join(at, "pipelines.code"),
    exports: join(at, "exports.json")
  }
})

const upward = (folder) => (dirname(folder) === folder ? [folder] : [folder, ...upward(dirname(folder))])

/** What package managers write whenever they install something. */
const markers = upward(home).flatMap((folder) =>
  [".modules.yaml", ".package-lock.json", ".yarn-state.yml"].map((file) => join(folder, "node_modules", file))
)

const stamp = (file) => {
  try {
    const { size, ino, mtimeNs, ctimeNs } = statSync(file, { bigint: true })
    return [size, ino, mtimeNs, ctimeNs].join(" ")
  } catch {
    return "none"
  }
}

/**
 * What tells that a file is still the one that was read, without reading it again; undefined where it was written so
 * lately that a file system of coarse times might not tell the next edit.
 */
export const settled = (file) => {
  const before = stamp(file)
  return Date.now() - statSync(file).ctimeMs > 3000 ? before : undefined
}

const link = (dependency) => {
  for (const folder of upward(home)) {
    const path = join(folder, "node_modules", dependency)
    if (existsSync(path)) return realpathSync(path)
  }
  return "none"
}

/** What is installed, as far as the command can see. */
export const installed = () => {
  const { dependencies = {}, peerDependencies = {} } = JSON.parse(
    readFileSync(join(home, "package.json"), "utf8")
  )
  return [
    ...markers.map((file) => `${file} ${stamp(file)}`),
    ...Object.keys({ ...dependencies, ...peerDependencies }).map((one) => `${one} ${link(one)}`)
  ].join("\n")
}

const isCurrent = (manifest) =>
  manifest.format === FORMAT &&
  manifest.installed === installed() &&
  manifest.files.every(
    ([file, digest, settled]) => stamp(file) === settled || sha256(readFileSync(file)) === digest
  )

/** The current bundle, as `use` makes something of it; undefined where there is none, or nothing can be made of it. */
const from = (use) => {
  // Conditions choose other files of a package.
  if (/(^|\s)(-C|--conditions)\b/.test([process.env.NODE_OPTIONS, ...process.execArgv].join(" ")))
    return undefined
  for (const folder of folders) {
    try {
      const manifest = JSON.parse(readFileSync(paths(folder).manifest, "utf8"))
      if (!isCurrent(manifest)) throw new Error("the bundle is not current")
      return use(scripts(join(folder, manifest.folder)), manifest)
    } catch (error) {
      log("%s: %s", folder, error.message)
    }
  }
  return undefined
}

/** The script to start from, `command` or `pipelines`. */
export const find = (kind) =>
  from(({ [kind]: files }, { sizes }) => {
    const source = readFileSync(files.script, "latin1")
    if (source.length !== sizes[kind]) throw new Error("the bundle is not whole")
    return { ...files, source }
  })

/** What `--help` says of a verb, or without one of all, with its colours. */
export const help = (verb) => from(({ help }) => JSON.parse(readFileSync(help, "utf8"))[verb])

/**
 * Runs a script. That of pipelines gives its modules: by path, a function that loads one; the command's starts it.
 *
 * @param keep whether to keep the compiled code when the process ends
 */
export const load = ({ script, source, code }, keep = false) => {
  const cachedData = existsSync(code) ? readFileSync(code) : undefined
  const compiled = new vm.Script(`(function (require, module, ${IMPORT}) {${source}\n})`, {
    filename: script,
    ...(cachedData === undefined ? {} : { cachedData })
  })
  log(
    "%s, compiled code %s",
    script,
    cachedData === undefined ? "missing" : compiled.cachedDataRejected ? "rejected" : "used"
  )
  const module = { exports: {} }
  compiled.runInThisContext()(createRequire(script), module, (specifier) => import(specifier))
  if (keep) {
    process.on("exit", () => {
      const partial = `${code}.${process.pid}`
      writeFileSync(partial, compiled.createCachedData(), { flush: true })
      renameSync(partial, code)
    })
  }
  return module.exports
}

/** Older than this, a build that did not end was killed. */
const BUILD_MILLIS = 120_000

/** The right to build in a folder: undefined where another process does, or where it cannot be written. */
export const lock = (folder) => {
  const { lock } = paths(folder)
  try {
    mkdirSync(folder, { recursive: true })
    if (existsSync(lock) && Date.now() - statSync(lock).mtimeMs > BUILD_MILLIS)
      rmSync(lock, { recursive: true })
    mkdirSync(lock)
    return () => rmSync(lock, { recursive: true, force: true })
  } catch {
    return undefined
  }
}

/** Makes a bundle in a process of its own that nobody waits for. */
export const build = async () => {
  if (
    folders.some(
      (folder) =>
        existsSync(paths(folder).lock) && Date.now() - statSync(paths(folder).lock).mtimeMs < BUILD_MILLIS
    )
  )
    return
  const { spawn } = await import("node:child_process")
  spawn(process.execPath, [fileURLToPath(new URL("bundle-build.js", import.meta.url))], {
    cwd: home,
    detached: true,
    stdio: "ignore"
  })
    .on("error", (error) => log("cannot build: %s", error.message))
    .unref()
}
