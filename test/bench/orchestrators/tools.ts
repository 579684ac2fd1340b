/**
 * The orchestrators that are compared: how each is set up, and the commands of its runs.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export type Graph = "chain" | "fan"
export const NODES = 1000
const CORES = 2

export interface Command {
  readonly argv: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

export interface Tool {
  readonly name: string
  /** The Python package; none for Tessera. */
  readonly python?: string
  /** How it is configured, for the footnote. */
  readonly how: string
  /** Writes what it needs into the empty folder in which its commands run. */
  readonly prepare?: (folder: string, graph: Graph) => void
  /** Computes the graph; a second time it finds all of it computed, where the tool can. */
  readonly run: (bin: string, graph: Graph, folder: string) => Command
  /** Says what would run, and runs nothing. */
  readonly plan?: (bin: string, graph: Graph) => Command
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const tesseraBin = here("../../../packages/cli/bin/tessera.js")

export const tools: ReadonlyArray<Tool> = [
  {
    name: "tessera run",
    how: "the command line, stages in its process, store in a folder; what it finds it verifies by digest",
    run: (_, graph) => ({
      argv: [process.execPath, tesseraBin, "run", here(`tessera/${graph}.ts`), "--store", "store"]
    }),
    plan: (_, graph) => ({
      argv: [process.execPath, tesseraBin, "plan", here(`tessera/${graph}.ts`), "--store", "store"]
    })
  },
  {
    name: "tessera, engine alone",
    how: "the same through the engine's function in a fresh process, timed within it (start-up left out)",
    run: (_, graph) => ({
      argv: [
        process.execPath,
        "--import",
        import.meta.resolve("tsx"),
        here("tessera/inProcess.ts"),
        graph,
        "store"
      ]
    })
  },
  {
    name: "redun",
    python: "redun",
    how: `tasks in ${CORES} threads of its own process, values and call graph in its SQLite database`,
    prepare: (folder) => {
      mkdirSync(join(folder, ".redun"))
      writeFileSync(
        join(folder, ".redun/redun.ini"),
        `[backend]\ndb_uri = sqlite:///redun.db\n\n[executors.default]\ntype = local\nmode = thread\nmax_workers = ${CORES}\n`
      )
    },
    run: (bin, graph) => ({ argv: [join(bin, "redun"), "run", here("python/redun_workflow.py"), graph] })
  },
  {
    name: "Snakemake",
    python: "snakemake",
    how: `\`--cores ${CORES}\`, one \`shell:\` no-op per rule (a \`run:\` block would start a Python for each); "cached" is its default rerun triggers finding nothing to do; the chain needs a higher recursion limit, set in its Snakefile`,
    run: (bin, graph) => ({
      argv: [join(bin, "snakemake"), "-s", here(`python/${graph}.smk`), "--cores", `${CORES}`, "--quiet"]
    }),
    plan: (bin, graph) => ({
      argv: [join(bin, "snakemake"), "-s", here(`python/${graph}.smk`), "--dry-run", "--quiet", "all"]
    })
  }
]
