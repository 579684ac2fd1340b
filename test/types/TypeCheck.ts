/** Type-checks programs that a test wrote, as a user's would be. */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"

const root = new URL("../..", import.meta.url).pathname

export interface Checked {
  readonly ok: boolean
  readonly output: string
  readonly seconds: number
  /** Of all its threads. */
  readonly cpuSeconds: number
}

/** Type-checks files by the repository's compiler and options, in a folder of their own. */
export const typeCheck = (files: Readonly<Record<string, string>>): Checked => {
  const folder = mkdtempSync(join(tmpdir(), "tessera-types-"))
  try {
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    const tsconfig = {
      extends: join(root, "tsconfig.base.json"),
      compilerOptions: {
        noEmit: true,
        noUnusedLocals: false,
        composite: false,
        incremental: false,
        declaration: false,
        declarationMap: false,
        typeRoots: [join(root, "node_modules/@types")]
      },
      files: Object.keys(files)
    }
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig))
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    const before = performance.now()
    const { status, stdout, stderr } = spawnSync(
      "sh",
      ["-c", '"$0" -p "$1"; status=$?; times >&2; exit $status', join(root, "node_modules/.bin/tsc"), folder],
      { cwd: folder, encoding: "utf8" }
    )
    const seconds = (performance.now() - before) / 1000
    // The last line of `times` is of the children: user and system time, such as 0m1.25s.
    const used = [...(stderr.trim().split("\n").at(-1) ?? "").matchAll(/(\d+)m([\d.]+)s/g)]
    const cpuSeconds = used.reduce((sum, [, minutes, rest]) => sum + Number(minutes) * 60 + Number(rest), 0)
    return { ok: status === 0, output: stdout, seconds, cpuSeconds }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
