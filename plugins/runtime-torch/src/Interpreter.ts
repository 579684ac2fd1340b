/**
 * Which Python runs the worker.
 */
import { access, constants, readdir, readFile } from "node:fs/promises"
import { createHash } from "node:crypto"
import { homedir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"

export interface Interpreter {
  readonly path: string
  /** `variable`: TESSERA_PYTHON. `environment`: made by `tessera doctor --install torch`. `path`: python3 of the PATH. */
  readonly origin: "variable" | "environment" | "path"
}

/** The folder of the worker's sources. */
export const sources = new URL("../worker/src/", import.meta.url)

/** Requirements with hashes: all of CUDA's parts, or without those that a CPU does not load. */
export const locks = {
  cuda: new URL("../worker/requirements.lock", import.meta.url),
  cpu: new URL("../worker/requirements-cpu.lock", import.meta.url)
} as const

/** Where environments are: one per lock file and Python version, for all projects of a user. */
export const environmentsFolder = (): string =>
  join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "tessera", "python")

/** What the name of a lock's environment begins with. */
export const lockDigest = (lock: URL): Promise<string> =>
  readFile(fileURLToPath(lock)).then((bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 32))

const made = async (): Promise<string | undefined> => {
  const folder = environmentsFolder()
  const names = await readdir(folder).catch(() => [])
  for (const lock of [locks.cuda, locks.cpu]) {
    const digest = await lockDigest(lock)
    for (const name of names.filter((name) => /^[0-9a-f]{32}-[^.]+$/.test(name) && name.startsWith(digest))) {
      const python = join(folder, name, "bin", "python")
      if (
        await access(python, constants.X_OK).then(
          () => true,
          () => false
        )
      )
        return python
    }
  }
  return undefined
}

/** In this order: TESSERA_PYTHON, the environment that `tessera doctor --install torch` made, python3. */
export const find: Effect.Effect<Interpreter> = Effect.promise(async () => {
  const given = process.env["TESSERA_PYTHON"]
  if (given !== undefined && given !== "") return { path: given, origin: "variable" }
  const own = await made()
  return own === undefined ? { path: "python3", origin: "path" } : { path: own, origin: "environment" }
})
