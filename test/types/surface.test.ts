/** What packages and plugins declare to their users, as the compiler writes it down. */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"

const root = new URL("../..", import.meta.url).pathname
const folders = execFileSync("git", ["ls-files", "packages/*/tsconfig.json", "plugins/*/tsconfig.json"], {
  cwd: root,
  encoding: "utf8"
})
  .trim()
  .split("\n")
  .map((file) => file.replace(/\/tsconfig\.json$/, ""))

it("no declaration has an `any`: one erases the errors and services of a whole chain", () => {
  execFileSync(join(root, "node_modules/.bin/tsc"), ["-b", ...folders], { cwd: root })
  const found = folders.flatMap((folder) =>
    readdirSync(join(root, folder, "dist"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".d.ts"))
      .flatMap((file) =>
        readFileSync(join(root, folder, "dist", file), "utf8")
          .replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")
          .split("\n")
          // Effect's own declaration of what an error class extends.
          .filter((line) => /\bany\b/.test(line) && !/^declare const \w+_base: new /.test(line))
          .map((line) => `${folder}/${file}: ${line.trim()}`)
      )
  )
  expect(folders.length).toBeGreaterThan(10)
  expect(found).toEqual([])
})
