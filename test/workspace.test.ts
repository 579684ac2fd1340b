import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"

const root = new URL("..", import.meta.url).pathname
const tracked = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).trim().split("\n")

describe("the workspace", () => {
  it("has one copy of effect and of each @effect package", () => {
    const installed = readdirSync(join(root, "node_modules/.pnpm"))
    for (const name of ["effect", "@effect+platform", "@effect+platform-node", "apache-arrow"]) {
      const versions = new Set(
        installed
          .filter((folder) => folder.startsWith(`${name}@`))
          .map(
            (folder) =>
              folder
                .split("@")
                .at(name.startsWith("@") ? 2 : 1)
                ?.split("_")[0]
          )
      )
      expect([...versions], name).toHaveLength(1)
    }
  })

  it("names no registry host in a lockfile or configuration", () => {
    const files = tracked.filter((file) =>
      /(^|\/)(pnpm-lock\.yaml|pnpm-workspace\.yaml|package\.json|\.npmrc|.*\.lock|pyproject\.toml)$/.test(
        file
      )
    )
    expect(files).toContain("pnpm-lock.yaml")
    for (const file of files) {
      expect(readFileSync(join(root, file), "utf8"), file).not.toMatch(
        /registry\.|https?:\/\/[^\s"]*(npmjs|pypi|pythonhosted)|--index-url/
      )
    }
  })

  it("has a README and a test folder in every package", () => {
    const packages = tracked
      .filter((file) => /^(packages|plugins)\/[^/]+\/package\.json$/.test(file))
      .map((file) => file.replace(/\/package\.json$/, ""))
    expect(packages.length).toBeGreaterThan(10)
    for (const folder of packages) {
      expect(existsSync(join(root, folder, "README.md")), `${folder}/README.md`).toBe(true)
    }
  })

  it("keeps every module within 400 lines", () => {
    const long = tracked
      .filter((file) => /^(packages|plugins)\/[^/]+\/src\/.*\.ts$/.test(file))
      .map((file) => ({ file, lines: readFileSync(join(root, file), "utf8").split("\n").length - 1 }))
      .filter(({ lines }) => lines > 400)
    expect(long).toEqual([])
  })
})

describe("the import boundaries", () => {
  const written: Array<string> = []
  afterAll(() => written.forEach((file) => rmSync(file, { force: true })))

  const lint = (folder: string, code: string) => {
    const file = join(root, folder, "src", `boundary-probe-${process.pid}.ts`)
    mkdirSync(join(root, folder, "src"), { recursive: true })
    written.push(file)
    writeFileSync(file, code)
    const result = spawnSync(join(root, "node_modules/.bin/oxlint"), [file], { cwd: root, encoding: "utf8" })
    rmSync(file)
    return result
  }

  it.each([
    ["packages/core", "@tessera/attention"],
    ["packages/store", "@tessera/engine"],
    ["packages/engine", "@tessera/attention"],
    ["packages/attention", "@tessera/runtime"],
    ["packages/runtime", "@tessera/store"],
    ["packages/parquet", "@tessera/store"],
    ["packages/store", "@tessera/parquet"],
    ["packages/engine", "@tessera/parquet"],
    ["packages/codegen", "@tessera/runtime"],
    ["packages/attention", "@tessera/codegen"],
    ["plugins/codegen-flex", "@tessera/codegen-triton"],
    ["plugins/validator", "@tessera/runtime-cpu"],
    ["plugins/validator", "@tessera/engine"],
    ["plugins/validator", "@tessera/store"],
    ["plugins/validator", "@tessera/testing"],
    ["packages/engine", "@tessera/testing"],
    ["packages/testing", "@tessera/runtime-cpu"],
    ["packages/testing", "@tessera/cli"],
    ["plugins/validator", "../../profiler-gradient/src/index.js"]
  ])("refuse %s importing %s", (folder, imported) => {
    const result = lint(folder, `export { x } from "${imported}"\n`)
    expect(result.status).not.toBe(0)
    expect(result.stdout).toContain("no-restricted-imports")
  })

  it.each([
    ["packages/store", "@tessera/core"],
    ["packages/parquet", "@tessera/core"],
    ["plugins/calibration-multinews", "@tessera/parquet"],
    ["packages/codegen", "@tessera/attention"],
    ["plugins/codegen-flex", "@tessera/codegen"],
    ["plugins/validator", "@tessera/runtime"],
    ["packages/testing", "@tessera/engine"]
  ])("allow %s importing %s", (folder, imported) => {
    expect(lint(folder, `export { x } from "${imported}"\n`).status).toBe(0)
  })
})
