/** The worker's own tests and checks, in the environment that users get. */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"
import { torchPython } from "../../../test/python/Torch.js"
import { bytecodeFolder } from "../src/index.js"

const python = await torchPython("the worker's own tests are not run")

const worker = fileURLToPath(new URL("../worker", import.meta.url))

/** Standard output; a failing program's whole output is the error's message. */
const run = (...args: ReadonlyArray<string>): Promise<string> =>
  promisify(execFile)(python ?? "", args, {
    cwd: worker,
    maxBuffer: 1 << 26,
    env: { ...process.env, PYTHONPYCACHEPREFIX: bytecodeFolder() }
  }).then(
    ({ stdout }) => stdout,
    ({ stdout, stderr, message }: { stdout?: string; stderr?: string; message: string }) =>
      Promise.reject(new Error(`${message}\n${stdout ?? ""}\n${stderr ?? ""}`))
  )

const patience = 30 * 60_000

describe.skipIf(python === undefined)("the worker", () => {
  // Those of GGUF files only where TESSERA_SMOLLM2 names one: test/conformance/agreement.test.ts converts it too.
  it("passes its own tests", { timeout: patience }, async () => {
    const output = await run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    expect(output).toMatch(/\d+ passed/)
    expect(output).not.toMatch(/failed|\d+ error/)
  })

  it("is clean under ruff and strict mypy", { timeout: patience }, async () => {
    expect(await run("-m", "ruff", "check", "--no-cache", ".")).toContain("All checks passed")
    expect(await run("-m", "ruff", "format", "--no-cache", "--check", ".")).toMatch(/already formatted/)
    expect(await run("-m", "mypy", "--no-incremental")).toContain("no issues found")
  })
})
