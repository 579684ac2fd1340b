/**
 * Tessera and other orchestrators on the same graphs of 1,000 no-op nodes, cold and cached, every run in a fresh process:
 *
 *   npx tsx test/bench/orchestrators/main.ts [--repeats 3] [--limit 600] [--venvs folder] [--only "tessera run,redun"] [--graph fan]
 *
 * Needs Python 3.10 or later with venv, and a Python package index. Environments are made in a temporary folder that is
 * removed at the end; with `--venvs` they are made there, kept, and found again.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { cpus, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { measure, TIMED_OUT, type Measured } from "./measure.js"
import { NODES, tools, type Command, type Graph, type Tool } from "./tools.js"

const { values } = parseArgs({
  options: {
    repeats: { type: "string", default: "3" },
    limit: { type: "string", default: "600" },
    venvs: { type: "string" },
    only: { type: "string" },
    graph: { type: "string" }
  }
})
const repeats = Number(values.repeats)
const limit = Number(values.limit)
const graphs = (["chain", "fan"] as const).filter(
  (graph) => values.graph === undefined || values.graph === graph
)
const chosen = values.only?.split(",")

type Phase = "cold" | "cached" | "plan"
type Result = Measured | typeof TIMED_OUT

const work = mkdtempSync(join(tmpdir(), "tessera-orchestrators-"))
const venvs = values.venvs ?? join(work, "venvs")
mkdirSync(venvs, { recursive: true })

const requirements = (python: string) =>
  fileURLToPath(new URL(`python/requirements-${python}.txt`, import.meta.url))
const pinned = (python: string) => readFileSync(requirements(python), "utf8").trim().split("==")[1] ?? ""

/** The folder of a tool's commands. */
const install = (python: string): string => {
  const folder = join(venvs, python)
  const bin = join(folder, "bin")
  if (!existsSync(join(bin, python))) {
    console.error(`installing ${python} ${pinned(python)}`)
    execFileSync("python3", ["-m", "venv", folder], { stdio: "inherit" })
    execFileSync(join(bin, "pip"), ["install", "--quiet", "-r", requirements(python)], { stdio: "inherit" })
  }
  return bin
}

/** The engine's own time, where the command tells it. */
const told = (result: Result): Result => {
  if (result === TIMED_OUT || !result.stdout.startsWith('{"seconds"')) return result
  const { seconds } = JSON.parse(result.stdout) as { seconds: number }
  return { ...result, wall: seconds }
}

const results = new Map<string, Array<Result>>()
const key = (tool: Tool, graph: Graph, phase: Phase) => `${tool.name}/${graph}/${phase}`
const record = async (tool: Tool, graph: Graph, phase: Phase, command: Command, folder: string) => {
  const result = told(await measure(command, folder, limit))
  results.set(key(tool, graph, phase), [...(results.get(key(tool, graph, phase)) ?? []), result])
  const text =
    result === TIMED_OUT ? `over ${limit} s` : `${result.wall.toFixed(2)} s, CPU ${result.cpu.toFixed(2)} s`
  console.error(`${tool.name}, ${graph}, ${phase}: ${text}`)
  return result !== TIMED_OUT
}

const once = async (tool: Tool, bin: string, graph: Graph) => {
  const folder = mkdtempSync(join(work, `${tool.python ?? "tessera"}-`))
  try {
    tool.prepare?.(folder, graph)
    if (!(await record(tool, graph, "cold", tool.run(bin, graph, folder), folder))) return
    await record(tool, graph, "cached", tool.run(bin, graph, folder), folder)
    if (tool.plan !== undefined) await record(tool, graph, "plan", tool.plan(bin, graph), folder)
  } catch (cause) {
    console.error(`${tool.name}, ${graph} failed: ${String(cause)}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

/** Medians of wall and processor seconds. */
const summary = (tool: Tool, graph: Graph, phase: Phase) => {
  const all = results.get(key(tool, graph, phase)) ?? []
  const done = all.filter((result) => result !== TIMED_OUT)
  if (done.length === 0) return { text: all.length === 0 ? "–" : `over ${limit}`, wall: NaN }
  const wall = median(done.map((result) => result.wall))
  const cpu = median(done.map((result) => result.cpu))
  return { text: `${wall.toFixed(2)} (${cpu.toFixed(1)})`, wall }
}

const ratio = (one: number, other: number) =>
  Number.isNaN(one / other) ? "–" : `${(one / other).toFixed(1)}×`

try {
  const [own] = tools
  const used = tools.filter((tool) => chosen === undefined || chosen.includes(tool.name))
  const bins = new Map(used.map(({ python }) => [python, python === undefined ? "" : install(python)]))
  for (let i = 0; i < repeats; i++)
    for (const graph of graphs) for (const tool of used) await once(tool, bins.get(tool.python) ?? "", graph)

  const version = (tool: Tool) => (tool.python === undefined ? "0.1.0" : pinned(tool.python))
  console.log(
    "| tool | version | graph | cold, s | cached, s | dry run, s | cold / tessera run | cached / tessera run |"
  )
  console.log("|---|---|---|---|---|---|---|---|")
  for (const graph of graphs)
    for (const tool of used) {
      const [cold, cached, plan] = (["cold", "cached", "plan"] as const).map((phase) =>
        summary(tool, graph, phase)
      )
      const ours = (phase: Phase) => (own === undefined ? NaN : summary(own, graph, phase).wall)
      console.log(
        `| ${tool.name} | ${version(tool)} | ${graph} | ${cold?.text} | ${cached?.text} | ${plan?.text} | ${ratio(
          cold?.wall ?? NaN,
          ours("cold")
        )} | ${ratio(cached?.wall ?? NaN, ours("cached"))} |`
      )
    }
  console.log(
    `\nWall seconds, in brackets processor seconds (user and system, children included); medians of ${repeats}, tools ` +
      `interleaved. Chain: ${NODES} nodes one after the other. Fan: ${NODES} independent nodes and one that joins ` +
      `them. Dry run: with everything computed. A run that takes over ${limit} s is stopped.\n`
  )
  for (const { name, how } of used) console.log(`- ${name}: ${how}.`)
  const python = execFileSync("python3", ["--version"], { encoding: "utf8" }).trim()
  console.log(
    `\n${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores (${cpus()[0]?.model.trim()}), ` +
      `${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${python}.`
  )
} finally {
  rmSync(work, { recursive: true, force: true })
}
