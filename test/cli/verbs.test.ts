import { describe, expect, it } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const squares = fixture("squares")

describe("run", () => {
  it("computes the targets, prints the small ones, and takes the second run from the store", async () => {
    const cwd = folder()
    const first = await tessera(["run", squares], { cwd })
    expect(first.stderr).toMatch(/✓ numbers/)
    expect(first.stderr).toMatch(/✓ square +2 shards, 0 cached, 2 in /)
    expect(first.stdout).toMatch(/group +n +square/)
    expect(first.stdout).toContain(`"title": "Squares"`)
    expect(first.stdout).toMatch(/package +Package\/1/)
    expect(first.stdout).toMatch(/4 executed, 0 cached/)
    expect(first.code).toBe(0)

    const second = await tessera(["run", squares], { cwd })
    expect(second.stdout).toMatch(/0 executed, 4 cached/)
    expect(second.code).toBe(0)
  })

  it("gives events as JSON lines, equal targets in both runs, and nothing else on stdout", async () => {
    const cwd = folder()
    const first = await tessera(["run", squares, "--json"], { cwd })
    const second = await tessera(["run", squares, "--json"], { cwd })
    const tags = (text: string) => lines(text).map((event) => event["_tag"])
    expect(tags(first.stdout)[0]).toBe("RunStarted")
    expect(tags(first.stdout).at(-1)).toBe("RunFinished")
    expect(tags(first.stdout).filter((tag) => tag === "TaskCommitted")).toHaveLength(4)
    expect(tags(second.stdout).filter((tag) => tag === "TaskCached")).toHaveLength(4)
    expect(tags(second.stdout)).not.toContain("TaskStarted")
    expect(lines(second.stdout).at(-1)?.["targets"]).toEqual(lines(first.stdout).at(-1)?.["targets"])
    expect([first.stderr, second.stderr]).toEqual(["", ""])
  })

  it("computes only what a target needs", async () => {
    const cwd = folder()
    const { stdout, code } = await tessera(["run", squares, "--target", "squares", "--json"], { cwd })
    expect(code).toBe(0)
    expect(stdout).not.toContain(`"node":"report"`)
  })

  it("takes a text parameter as text though it looks like a number", async () => {
    const cwd = folder()
    const { stdout, code } = await tessera(
      ["run", squares, "--param", "title=2026", "--set=square.scale=0.5"],
      { cwd }
    )
    expect(code).toBe(0)
    expect(stdout).toContain(`"title": "2026"`)
    expect(stdout).toContain(`"total": 15`)
  })

  it("sets one field of a nested parameter and keeps its siblings", async () => {
    const cwd = folder()
    expect((await tessera(["run", squares, "--set", "report.text.title=Other"], { cwd })).code).toBe(0)
    const shown = await tessera(
      ["explain", squares, "report", "--set", "report.text.title=Other", "--json"],
      { cwd }
    )
    expect(JSON.parse(shown.stdout)).toMatchObject({
      cached: true,
      manifest: { params: { text: { title: "Other", note: "kept" } } }
    })
  })

  it("keeps the store where TESSERA_STORE says, and --store wins over it", async () => {
    const cwd = folder()
    const env = { TESSERA_STORE: "from-env" }
    const again = async (args: ReadonlyArray<string>) =>
      lines((await tessera(["run", squares, "--json", ...args], { cwd, env })).stdout).some(
        ({ _tag }) => _tag === "TaskCommitted"
      )
    expect(await again([])).toBe(true)
    expect(await again(["--store", "other"])).toBe(true)
    expect(await again(["--store", "from-env"])).toBe(false)
  })
})

describe("plan and explain", () => {
  it("say what would run and why, before and after a change of a parameter", async () => {
    const cwd = folder()
    const before = await tessera(["plan", squares], { cwd })
    expect(before.code).toBe(0)
    expect(before.stdout).toMatch(/numbers +run/)
    expect(before.stdout).toContain("0 of 3 nodes cached")
    await tessera(["run", squares], { cwd })

    const cached = JSON.parse((await tessera(["plan", squares, "--json"], { cwd })).stdout) as {
      readonly nodes: ReadonlyArray<{ readonly node: string; readonly status: string }>
    }
    expect(cached.nodes.map(({ node, status }) => [node, status])).toEqual([
      ["numbers", "cached"],
      ["square", "cached"],
      ["report", "cached"]
    ])

    const changed = await tessera(["plan", squares, "--param", "title=Other"], { cwd })
    expect(changed.stdout).toMatch(/square +cached +2\/2/)
    expect(changed.stdout).toMatch(/report +run +.*title Squares → Other/)

    const explained = await tessera(["explain", squares, "report", "--param", "title=Other"], { cwd })
    expect(explained.code).toBe(0)
    expect(explained.stdout).toContain("report would run:")
    expect(explained.stdout).toContain("title Squares → Other")
    expect(explained.stdout).toContain(`"stage": "report"`)
  })
})

describe("show", () => {
  it("describes tables, documents and trees by target, by node and port, and by digest", async () => {
    const cwd = folder()
    await tessera(["run", squares], { cwd })
    const table = await tessera(["show", "squares"], { cwd })
    expect(table.code).toBe(0)
    expect(table.stdout).toMatch(/squares +table Squares\/1\nsha256:[0-9a-f]{64}\n5 rows/)
    expect(table.stdout).toMatch(/square +Float64 +0 +5 +0 +6 +16/)

    const document = await tessera(["show", "report.report", "--json"], { cwd })
    const shown = JSON.parse(document.stdout) as { readonly digest: string; readonly value: unknown }
    expect(shown).toMatchObject({
      kind: "document",
      type: "Report/1",
      value: { title: "Squares", total: 30 }
    })
    const byDigest = await tessera(["show", shown.digest.slice(0, "sha256:".length + 12)], { cwd })
    expect(byDigest.stdout).toContain(`"total": 30`)
    expect((await tessera(["show", shown.digest.slice("sha256:".length, 20)], { cwd })).stdout).toContain(
      `"total": 30`
    )

    const tree = await tessera(["show", "package"], { cwd })
    expect(tree.stdout).toMatch(/README\.md +\d+ B/)
    expect(tree.stdout).toMatch(/data\/total\.txt +2 B/)
  })

  it("lists the shards of a node and shows one of them", async () => {
    const cwd = folder()
    await tessera(["run", squares], { cwd })
    const all = await tessera(["show", "square.squares"], { cwd })
    expect(all.stdout).toMatch(/square\.squares\[0\] +3/)
    const one = JSON.parse(
      (await tessera(["show", "square.squares[1]", "--json", "--rows", "1"], { cwd })).stdout
    ) as {
      readonly rows: number
      readonly head: ReadonlyArray<unknown>
      readonly statistics: ReadonlyArray<unknown>
    }
    expect(one.rows).toBe(2)
    expect(one.head).toEqual([{ group: 1, n: 1, square: 1 }])
    expect(one.statistics[1]).toEqual({
      column: "n",
      type: "Int32",
      nulls: 0,
      distinct: 2,
      min: 1,
      max: 3,
      mean: 2
    })
  })

  it("names what the last run has when there is no such artifact", async () => {
    const cwd = folder()
    await tessera(["run", squares], { cwd })
    const { code, stderr } = await tessera(["show", "sqares"], { cwd })
    expect(code).toBe(2)
    expect(stderr).toContain("has no such artifact")
    expect(stderr).toContain("square.squares")
  })
})

describe("graph", () => {
  it("draws Mermaid text and an SVG file", async () => {
    const cwd = folder()
    const mermaid = await tessera(["graph", squares], { cwd })
    expect(mermaid.code).toBe(0)
    expect(mermaid.stdout).toMatch(/^flowchart TD\n/)
    expect(mermaid.stdout).toContain(`-- "Numbers/1 by group" -->`)
    expect(mermaid.stdout).toContain(`-- "Squares/1 gathered" -->`)
    const written = await tessera(["graph", squares, "--format", "svg"], { cwd })
    expect(written.code).toBe(0)
    expect(written.stdout).toContain("<svg")
    expect(written.stdout).toContain(">numbers<")
    const failed = await tessera(["graph", squares, "--output", "no/such/folder.svg"], { cwd })
    expect([failed.code, failed.stderr]).toEqual([
      2,
      expect.stringContaining("no/such/folder.svg: cannot be written")
    ])
  })
})

describe("help", () => {
  it("tells the verbs, their options and examples", async () => {
    const cwd = folder()
    const root = await tessera(["--help"], { cwd })
    expect(root.code).toBe(0)
    for (const verb of ["run", "plan", "explain", "show", "graph"]) {
      expect(root.stdout).toContain(`${verb} <`)
    }
    for (const verb of ["log [run]", "gc", "pin", "verify"]) expect(root.stdout).toContain(`- ${verb}`)
    const run = await tessera(["run", "--help"], { cwd })
    expect(run.stdout).toContain("EXAMPLES")
    expect(run.stdout).toContain("TESSERA_STORE")
    expect((await tessera(["--version"], { cwd })).stdout).toMatch(/^\d+\.\d+\.\d+/)
    // The escape that starts a colour: stdout is no terminal here.
    expect(root.stdout).not.toContain("\u001b")
  })
})
