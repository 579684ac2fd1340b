/**
 * Pythons for tests: the one an environment variable names, or an environment made once per lock file in the user's
 * cache folder.
 */
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const run = promisify(execFile)
const script = fileURLToPath(new URL("environment.sh", import.meta.url))

export interface Wanted {
  /** The requirements with their hashes. */
  readonly lock: URL
  /** What must be importable. */
  readonly modules: ReadonlyArray<string>
  /** Names an interpreter that has them already. */
  readonly variable: string
  /** Set where there are packages for Linux only: why. */
  readonly linuxOnly?: string
}

export type Found =
  | (Wanted & { readonly base: string; readonly tag: string; readonly ready: boolean })
  | { readonly skip: string }

// An environment can be made with it: new enough, and with what `python -m venv` needs (Debian packages that apart).
const probe =
  "import sys, venv, ensurepip; assert sys.version_info >= (3, 10); print(sys.implementation.cache_tag)"

/** A Python to make the environment with, or why there is none. */
export const findPython = async (wanted: Wanted): Promise<Found> => {
  const given = process.env[wanted.variable]
  if (given !== undefined && given !== "") return { ...wanted, base: given, tag: "", ready: true }
  if (wanted.linuxOnly !== undefined && process.platform !== "linux") {
    return { skip: `${wanted.linuxOnly}; set ${wanted.variable}` }
  }
  for (const name of ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"]) {
    const tag = await run(name, ["-c", probe]).then(
      ({ stdout }) => stdout.trim(),
      () => undefined
    )
    if (tag !== undefined) return { ...wanted, base: name, tag, ready: false }
  }
  return { skip: `no Python ≥3.10 with its venv module here; install one, or set ${wanted.variable}` }
}

/** The interpreter of the environment; makes the environment first where this lock file has none yet. */
export const interpreter = async (found: Exclude<Found, { readonly skip: string }>): Promise<string> => {
  if (found.ready) return found.base
  const digest = createHash("sha256")
    .update(await readFile(found.lock))
    .digest("hex")
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache")
  const target = join(cache, "tessera", "python", `${digest.slice(0, 32)}-${found.tag}`)
  await run(script, [found.base, fileURLToPath(found.lock), target, found.modules.join(",")])
  return join(target, "bin", "python")
}
