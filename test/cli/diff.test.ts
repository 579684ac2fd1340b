import { expect, it } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const squares = fixture("squares")

/** Runs and gives the run's id. */
const run = async (cwd: string, ...args: ReadonlyArray<string>): Promise<string> => {
  const { stdout } = await tessera(["run", squares, "--json", ...args], { cwd })
  return String(lines(stdout)[0]?.["run"])
}

it("tessera diff tells parameters, keys, results and measurements of two runs apart", async () => {
  const cwd = folder()
  const before = await run(cwd)
  const prefixed = await run(cwd, "--set", "numbers.prefix=m", "--param", "title=Squares")
  const scaled = await run(cwd, "--set", "square.scale=0.5", "--param", "count=4")

  const same = await tessera(["diff", before, before], { cwd })
  expect(same.stdout).toContain("3 of 3 nodes have equal keys")

  // The names of the numbers reach no square: they are computed again, and all is equal from there on.
  const early = await tessera(["diff", before, prefixed], { cwd })
  expect(early.stdout).toMatch(/^numbers +changed +numbers .* param prefix n → m$/m)
  expect(early.stdout).toMatch(/^square +recomputed .* input numbers changed$/m)
  expect(early.stdout).toContain("1 of 3 nodes have equal keys")

  const { stdout, code } = await tessera(["diff", before, "last"], { cwd })
  expect(code).toBe(0)
  expect(stdout).toMatch(/param count 5 → 4/)
  expect(stdout).toMatch(/^report +changed +package, report .* input squares changed$/m)
  // Rows that are equal in both, such as that of 0, are left out.
  expect(stdout).toMatch(/group +n +square\n[─ ]+\n0 +2 +4\.00 → 2\.00\n1 +1 +1\.00 → 0\.50\n/)
  expect(stdout).toMatch(/^0 +4 +16\.00 → –$/m)

  const all = JSON.parse((await tessera(["diff", before, scaled, "--json"], { cwd })).stdout) as unknown
  expect(all).toMatchObject({
    before: { run: before },
    after: { run: scaled },
    tables: [{ name: "squares", names: ["group", "n"], columns: ["square"] }]
  })

  const wrong = await tessera(["diff", before, "0000"], { cwd })
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("0000: there is no such run")])
})
