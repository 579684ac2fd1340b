import { chmodSync, existsSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { folder, tessera } from "./Tessera.js"

const fake = fileURLToPath(new URL("../../plugins/runtime-torch/test/fakeWorker.mjs", import.meta.url))

/** A program in the place of Python, whose worker does as the scenario says. */
const python = (cwd: string, scenario: string): Readonly<Record<string, string>> => {
  const file = path.join(cwd, "python")
  writeFileSync(file, `#!/bin/sh\nexec ${process.execPath} ${fake} "${scenario}"\n`)
  chmodSync(file, 0o755)
  return { TESSERA_PYTHON: file }
}

describe("tessera doctor", () => {
  it("tells what it finds, and changes nothing", async () => {
    const cwd = folder()
    const { code, stdout, stderr } = await tessera(["doctor"], { cwd, env: python(cwd, "good") })
    expect([code, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^check +found/)
    expect(stdout).toMatch(/Node +ok +v\d+/)
    expect(stdout).toContain(`${path.join(cwd, "python")} (TESSERA_PYTHON), 3.12.3`)
    expect(stdout).toMatch(/packages +ok +torch 2.11.0, transformers 5.24.0, triton none/)
    expect(stdout).toMatch(/PyTorch worker +ok +version 0.1.0, on the CPU/)
    expect(existsSync(path.join(cwd, ".tessera"))).toBe(false)
  })

  it("says what to do about what is wrong, and ends with 1", async () => {
    const cwd = folder()
    writeFileSync(path.join(cwd, "file"), "")
    const { code, stdout, stderr } = await tessera(["doctor", "--store", "file/store"], {
      cwd,
      env: python(cwd, "no torch")
    })
    expect(code).toBe(1)
    expect(stdout).toMatch(/store +failed +.*file is not a folder/)
    expect(stdout).toMatch(/PyTorch worker +failed +.*torch is missing from \/usr/)
    expect(stdout).toContain("PyTorch worker: tessera doctor --install torch")
    expect(stderr).toMatch(/^✗ store, PyTorch worker: /)
  })

  it("gives the same as JSON", async () => {
    const cwd = folder()
    const { code, stdout } = await tessera(["doctor", "--json"], { cwd, env: python(cwd, "good") })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      checks: expect.arrayContaining([expect.objectContaining({ name: "PyTorch worker", status: "ok" })])
    })
  })

  it("refuses to install what it does not know", async () => {
    const { code, stderr } = await tessera(["doctor", "--install", "jax"], { cwd: folder() })
    expect(code).toBe(2)
    expect(stderr).toContain("there is no such thing to install; there is torch")
  })

  it("cannot install without a Python", async () => {
    const cwd = folder()
    const { code, stderr } = await tessera(["doctor", "--install", "torch"], {
      cwd,
      env: { PATH: cwd, XDG_CACHE_HOME: cwd, TESSERA_BUNDLE: "off" }
    })
    expect(code).toBe(1)
    expect(stderr).toMatch(/no Python 3.10 or newer.*install one/)
  })
})
