import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { fixture, folder, tessera } from "./Tessera.js"

describe("tessera verify <pipeline>", () => {
  it("executes stored results again and tells which come out otherwise, or not at all", async () => {
    const cwd = folder()
    const file = join(cwd, "mood")
    const args = [fixture("moody"), "--param", `file=${file}`]
    writeFileSync(file, "good")
    const nothing = await tessera(["verify", ...args], { cwd })
    expect([nothing.code, nothing.stdout]).toEqual([0, "0 executed again: 0 equal, 0 not\n"])
    await tessera(["run", ...args], { cwd })
    const good = await tessera(["verify", ...args], { cwd })
    expect(good.code).toBe(0)
    expect(good.stdout).toMatch(
      /= steady {2}equal, .*\n= moody {2}equal, .*\n2 executed again: 2 equal, 0 not/
    )

    writeFileSync(file, "bad")
    const bad = await tessera(["verify", ...args, "--node", "moody"], { cwd })
    expect(bad.code).toBe(1)
    expect(bad.stdout).toMatch(/≠ moody {2}text sha256:\w+ → sha256:\w+\n1 executed again: 0 equal, 1 not/)
    expect(bad.stderr).toContain("the stages depend on something that is in no key")
    // Nothing was replaced.
    expect((await tessera(["run", ...args], { cwd })).stdout).toContain("0 executed, 2 cached")

    rmSync(file)
    const failed = await tessera(["verify", ...args, "--json"], { cwd })
    expect(JSON.parse(failed.stdout.trim().split("\n").slice(0, -1).join("\n"))).toMatchObject([
      { node: "steady", outcome: "equal" },
      { node: "moody", outcome: "failed" }
    ])
    const unknown = await tessera(["verify", ...args, "--node", "mody"], { cwd })
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("did you mean moody?")])
  }, 180_000)
})
