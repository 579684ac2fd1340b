/**
 * Code and data that no bundler sees: files and folders that a stage or a service declares (Python workers, templates),
 * as part of the code in a key.
 */
import { readdir, readFile, realpath, stat } from "node:fs/promises"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { sha256 } from "@tessera/core"
import { Effect } from "effect"
import type { Code } from "./Code.js"
import { EngineError } from "./Errors.js"

/** What tools leave beside sources; it decides no result. */
const LEFTOVER =
  /^(__pycache__|node_modules|\.(git|hg|svn|venv|tox|nox|idea|vscode|DS_Store|(pytest|mypy|ruff)_cache|ipynb_checkpoints)|Thumbs\.db|.*\.(py[co]|sw[po]|egg-info)|.*~)$/

interface File {
  /** `/`-separated, from the declared folder; the name of a file that is declared itself. */
  readonly name: string
  readonly path: string
}

const list = async (folder: string, prefix: string, around: ReadonlyArray<string>): Promise<Array<File>> => {
  const found: Array<File> = []
  for (const name of await readdir(folder)) {
    if (LEFTOVER.test(name)) continue
    const path = join(folder, name)
    const info = await stat(path)
    if (info.isFile()) found.push({ name: `${prefix}${name}`, path })
    if (!info.isDirectory()) continue
    const real = await realpath(path)
    // A link to a folder around it would never end.
    if (!around.includes(real)) found.push(...(await list(path, `${prefix}${name}/`, [...around, real])))
  }
  return found
}

const digest = async (url: URL): Promise<Code> => {
  const path = await realpath(fileURLToPath(url))
  const files = (await stat(path)).isDirectory()
    ? await list(path, "", [path])
    : [{ name: basename(path), path }]
  if (files.length === 0) throw new Error("the folder holds no files")
  files.sort((a, b) => (a.name < b.name ? -1 : 1))
  const lines = await Promise.all(
    files.map(async (file) => `${file.name}\0${sha256(await readFile(file.path))}`)
  )
  return {
    module: url.href,
    files: files.map((file) => file.path),
    packages: [],
    verbatim: true,
    digest: sha256(["tessera.assets.v1", ...lines].join("\n"))
  }
}

/** Digests of declared files and folders: names below them and contents count, where they lie does not. */
export const digests = (assets: ReadonlyArray<URL>): Effect.Effect<ReadonlyArray<Code>, EngineError> =>
  Effect.forEach(assets, (url) =>
    Effect.tryPromise({
      try: () => digest(url),
      catch: (cause) =>
        new EngineError({
          reason: "Code",
          where: url.protocol === "file:" ? fileURLToPath(url) : url.href,
          detail: `declared as an asset, but cannot be read, so nothing can be cached under it: ${cause instanceof Error ? cause.message : String(cause)}`,
          cause
        })
    })
  )
