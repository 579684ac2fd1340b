import { execFileSync } from "node:child_process"
import { chmodSync, readdirSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { expect, it, onTestFinished } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const squares = fixture("squares")

/** A small file system of its own in memory, or undefined where this user may not mount one. */
const mount = (size: string): string | undefined => {
  const at = folder()
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", at], { stdio: "ignore" })
  } catch {
    return undefined
  }
  onTestFinished(() => void execFileSync("umount", [at]))
  return at
}

it(
  "a read-only store can be looked at, gives a run what it has, and ends with 3 what needs more",
  { timeout: 300_000 },
  async ({ skip }) => {
    const store = mount("10m")
    if (store === undefined) return skip("mounting is not permitted")
    const cwd = folder()
    expect((await tessera(["run", squares, "--store", store], { cwd })).code).toBe(0)
    execFileSync("mount", ["-o", "remount,ro", store])

    const shown = await tessera(["show", "report", "--store", store], { cwd })
    expect(shown.stderr).toBe("")
    expect(shown.stdout).toContain(`"total": 30`)
    const planned = await tessera(["plan", squares, "--store", store], { cwd })
    expect(planned.stdout).toContain("3 of 3 nodes cached")

    const cached = await tessera(["run", squares, "--store", store], { cwd })
    expect(cached.stdout).toMatch(/0 executed, 4 cached/)
    expect(cached.stderr).toMatch(/read-only; what runs do here is not logged/)
    expect(cached.code).toBe(0)

    const failed = await tessera(["run", squares, "--param", "count=6", "--store", store], { cwd })
    expect(failed.stderr).toMatch(/store: .*read-only/i)
    expect(failed.stderr).toContain("--store")
    expect(failed.code).toBe(3)
  }
)

it("a full disk ends with 3 and leaves the store good", { timeout: 300_000 }, async ({ skip }) => {
  const store = mount("2m")
  if (store === undefined) return skip("mounting is not permitted")
  const cwd = folder()
  expect((await tessera(["run", squares, "--store", path.join(store, "s")], { cwd })).code).toBe(0)
  const ballast = path.join(store, "ballast")
  expect(() => writeFileSync(ballast, Buffer.alloc(4_000_000))).toThrow("ENOSPC")

  const failed = await tessera(["run", squares, "--param", "count=9000", "--store", path.join(store, "s")], {
    cwd
  })
  expect(failed.stderr).toMatch(/store: .*(space|full)/i)
  expect(failed.code).toBe(3)

  writeFileSync(ballast, "")
  const again = await tessera(["run", squares, "--store", path.join(store, "s")], { cwd })
  expect(again.stdout).toMatch(/0 executed, 4 cached/)
  expect(again.code).toBe(0)
})

it("a damaged result is told and computed again", { timeout: 300_000 }, async () => {
  const cwd = folder()
  await tessera(["run", squares], { cwd })
  const shown = await tessera(["show", "report", "--json"], { cwd })
  const digest = String(lines(shown.stdout)[0]?.["digest"]).replace("sha256:", "")
  const blob = readdirSync(path.join(cwd, ".tessera"), { recursive: true, encoding: "utf8" }).find((name) =>
    name.replace(path.sep, "").endsWith(digest.slice(2))
  )
  const file = path.join(cwd, ".tessera", blob ?? "")
  chmodSync(file, 0o644)
  writeFileSync(file, "x")

  const { code, stdout, stderr } = await tessera(["run", squares], { cwd })
  expect(stderr).toMatch(/! report: .*damaged/)
  expect(stdout).toMatch(/1 executed, 3 cached/)
  expect(code).toBe(0)
})
