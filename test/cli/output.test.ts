/** `tessera show --output`: a table of the store as a file. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { float64, int32, table } from "@tessera/core"
import { decode, declare } from "@tessera/parquet"
import * as Arrow from "apache-arrow"
import { Effect } from "effect"
import { expect, it } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const squares = fixture("squares")
const Squares = table("Squares/1", { group: int32, n: int32, square: float64 })

const rowsOf = (content: Arrow.Table) => content.toArray().map((row): unknown => row.toJSON())

it("writes a table by target and by digest, as Parquet and as Arrow, with its values", async () => {
  const cwd = folder()
  await tessera(["run", squares], { cwd })
  const written = await tessera(["show", "squares", "--output", "squares.parquet"], { cwd })
  expect(written.stderr).toBe("")
  expect(written.stdout).toMatch(/^squares\.parquet +5 rows, 3 columns, [\d,.]+ .?B\n$/)
  expect(written.code).toBe(0)
  const file = path.join(cwd, "squares.parquet")
  const rows = rowsOf(await Effect.runPromise(decode(Squares, file)))
  expect(rows).toHaveLength(5)
  expect(rows).toContainEqual({ group: 1, n: 3, square: 9 })
  expect((await Effect.runPromise(declare(file))).id).toBe("Squares/1")

  const told = await tessera(["show", "squares", "--output", "again.parquet", "--json"], { cwd })
  const [document] = lines(told.stdout)
  expect(document).toMatchObject({ type: "Squares/1", rows: 5, output: "again.parquet" })
  const digest = String(document?.["digest"]).replace("sha256:", "").slice(0, 12)
  expect((await tessera(["show", digest, "--output", "squares.arrow"], { cwd })).code).toBe(0)
  expect(rowsOf(Arrow.tableFromIPC(readFileSync(path.join(cwd, "squares.arrow"))))).toEqual(rows)
  expect(readdirSync(cwd).filter((name) => name.endsWith(".part"))).toEqual([])
}, 180_000)

it("writes one shard by its name, and says so where a node has several", async () => {
  const cwd = folder()
  await tessera(["run", squares], { cwd })
  const all = await tessera(["show", "square.squares", "--output", "x.parquet"], { cwd })
  expect(all.code).toBe(2)
  expect(all.stderr).toMatch(/square\.squares: ran once per shard/)
  expect(all.stderr).toMatch(/square\.squares\[[01]\]/)
  expect(existsSync(path.join(cwd, "x.parquet"))).toBe(false)
  expect((await tessera(["show", "square.squares[1]", "--output", "x.parquet"], { cwd })).code).toBe(0)
  const rows = rowsOf(await Effect.runPromise(decode(Squares, path.join(cwd, "x.parquet"))))
  expect(rows).toEqual([
    { group: 1, n: 1, square: 1 },
    { group: 1, n: 3, square: 9 }
  ])
}, 180_000)

it("ends with 2 and what to do where there is no table, no such format, or no such place", async () => {
  const cwd = folder()
  await tessera(["run", squares], { cwd })
  const attempt = async (artifact: string, output: string) => {
    const { code, stderr } = await tessera(["show", artifact, "--output", output], { cwd })
    expect(code).toBe(2)
    return stderr
  }
  expect(await attempt("report", "report.parquet")).toMatch(
    /only a table can be written, and this is a document/
  )
  expect(await attempt("squares", "squares.csv")).toMatch(/Call it \*\.parquet or \*\.arrow/)
  expect(await attempt("squares", "absent/squares.parquet")).toMatch(
    /absent\/squares\.parquet: cannot be written/
  )
  expect(await attempt("squares", "absent/squares.arrow")).toMatch(/Check that its folder exists/)
  mkdirSync(path.join(cwd, "taken.parquet"))
  expect(await attempt("squares", "taken.parquet")).toMatch(/taken\.parquet: cannot be written/)
  expect(readdirSync(cwd).sort()).toEqual([".tessera", "taken.parquet"])
}, 180_000)

it("is in the help", async () => {
  const { stdout } = await tessera(["show", "--help"], { cwd: folder() })
  expect(stdout).toContain("--output")
  expect(stdout).toContain("*.parquet")
}, 180_000)
