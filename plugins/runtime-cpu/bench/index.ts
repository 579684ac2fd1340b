/**
 * Tokens per second and peak memory on the demo model, beside transformers in PyTorch on the CPU where a Python with
 * torch and transformers is found (TESSERA_PYTHON, else python3): `npx tsx bench/index.ts [length …]`.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg } from "node:os"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"

const Measured = Schema.parseJson(
  Schema.Struct({
    tokensPerSecond: Schema.Number,
    peakMiB: Schema.Number,
    versions: Schema.optional(Schema.String)
  })
)

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const model = here("../../../packages/demo/model")
const python = process.env["TESSERA_PYTHON"] ?? "python3"
const threads = availableParallelism()

const measure = (command: string, args: ReadonlyArray<string>): typeof Measured.Type | undefined => {
  try {
    const output = execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    return Schema.decodeSync(Measured)(output.trim().split("\n").at(-1) ?? "")
  } catch (error) {
    console.error(`${command} ${args.join(" ")} failed: ${String(error)}`)
    return undefined
  }
}

const number = (value: number | undefined, digits = 0): string =>
  value === undefined ? "—" : value.toLocaleString("en", { maximumFractionDigits: digits })

const asked = process.argv.slice(2).map(Number)
const lengths = asked.length > 0 ? asked : [512, 2048, 4096]
const { version } = Schema.decodeSync(Schema.parseJson(Schema.Struct({ version: Schema.String })))(
  readFileSync(here("../node_modules/onnxruntime-node/package.json"), "utf8")
)
const load = loadavg()[0]
const peers = new Set<string>()
console.log("| task | tokens | tokens/s | PyTorch | ratio | peak MiB | PyTorch | ratio |")
console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
for (const task of ["prefill", "decode", "influence"])
  for (const length of lengths) {
    const args = [model, task, String(length), String(threads), length > 2048 ? "1" : "3"]
    const own = measure(process.execPath, ["--import", "tsx", here("task.ts"), ...args])
    const peer = measure(python, [here("peer.py"), ...args])
    if (peer?.versions !== undefined) peers.add(peer.versions)
    const ratio = (of: "tokensPerSecond" | "peakMiB") =>
      own && peer ? `${number(own[of] / peer[of], 2)}×` : "—"
    console.log(
      `| ${task} | ${number(length)} | ${number(own?.tokensPerSecond)} | ${number(peer?.tokensPerSecond)} | ` +
        `${ratio("tokensPerSecond")} | ${number(own?.peakMiB)} | ${number(peer?.peakMiB)} | ${ratio("peakMiB")} |`
    )
  }
console.log(
  `\n${new Date().toISOString().slice(0, 10)}, ${cpus()[0]?.model ?? "unknown CPU"}, ${threads} threads, load ` +
    `${number(load, 1)} before, Node ${process.version}, onnxruntime-node ${version}, ${[...peers].join() || "no PyTorch"}`
)
