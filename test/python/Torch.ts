/** The Python that runs runtime-torch's worker in tests, on a CPU; undefined, aloud, where there is none. */
import { locks } from "@tessera/runtime-torch"
import { findPython, interpreter } from "./Environment.js"

/** Made once per machine and lock file: about 2 GB are fetched. Long for a test, so files await it at their top. */
export const torchPython = async (what: string): Promise<string | undefined> => {
  const found = await findPython({
    lock: locks.cpu,
    modules: ["torch", "transformers", "pyarrow"],
    variable: "TESSERA_PYTHON",
    bytes: 6e9
  })
  if ("skip" in found) {
    console.warn(`SKIPPED, ${what}: ${found.skip}`)
    return undefined
  }
  return interpreter(found).catch((error: unknown) => {
    console.warn(`SKIPPED, ${what}: ${String(error)}`)
    return undefined
  })
}
