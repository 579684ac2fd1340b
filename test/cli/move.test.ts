import { readFileSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"
import { fixture, folder, tessera } from "./Tessera.js"

const squares = fixture("squares")

it(
  "a run that moved to another store is cached, logged, shown and compared there",
  { timeout: 300_000 },
  async () => {
    const [here, there] = [folder(), folder()]
    const tar = path.join(here, "run.tar")
    await tessera(["run", squares], { cwd: here })
    const exported = await tessera(["export", "last", "--output", "run.tar"], { cwd: here })
    expect(exported.stdout).toMatch(/^run \w+: \d+ results, \d+ blobs, .* in run\.tar\n$/)

    const imported = await tessera(["import", tar], { cwd: there })
    expect(imported.stdout).toMatch(/of squares: new are (\d+) of \1 results, (\d+) of \2 blobs .*its log\n$/)
    expect((await tessera(["run", squares], { cwd: there })).stdout).toMatch(/0 executed, 4 cached/)
    expect((await tessera(["log"], { cwd: there })).stdout.match(/succeeded/g)).toHaveLength(2)
    expect((await tessera(["show", "report"], { cwd: there })).stdout).toContain(`"total": 30`)
    const run = /run (\w+)/.exec(exported.stdout)?.[1] ?? ""
    expect((await tessera(["diff", run, "last"], { cwd: there })).code).toBe(0)
    const again = await tessera(["import", tar, "--json"], { cwd: there })
    expect(JSON.parse(again.stdout)).toMatchObject({
      run,
      added: { log: false, actions: 0, blobs: 0, bytes: 0 },
      leftOut: { files: 0 }
    })
  }
)

it("what cannot be imported or exported is told, with its exit code", { timeout: 300_000 }, async () => {
  const cwd = folder()
  await tessera(["run", squares], { cwd })
  await tessera(["export", "last", "--output", "run.tar"], { cwd })
  const tar = readFileSync(path.join(cwd, "run.tar"))
  writeFileSync(path.join(cwd, "cut.tar"), tar.subarray(0, tar.length >> 1))
  const cases = [
    [["import", "cut.tar"], 3, /cut\.tar: .*copy it again/],
    [["import", squares], 2, /squares\.ts: is not a tar/],
    [["import", "none.tar"], 3, /none\.tar: there is no such file/],
    [["export", "01X", "--output", "x.tar"], 2, /01X: there is no such run/]
  ] as const
  for (const [args, code, message] of cases) {
    const ended = await tessera(args, { cwd })
    expect([ended.code, ended.stderr]).toEqual([code, expect.stringMatching(message)])
  }
})
