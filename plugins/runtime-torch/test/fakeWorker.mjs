/**
 * A process that speaks the worker's protocol, or breaks it: node fakeWorker.mjs SCENARIO [FILE]
 * It takes `load` alone; what comes is written to FILE, a line each.
 */
import { spawn } from "node:child_process"
import { appendFileSync, existsSync } from "node:fs"
import { createInterface } from "node:readline"

const [scenario, file] = process.argv.slice(2)
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`)
const note = (text) => file && appendFileSync(file, `${text}\n`)
const gpu = { name: "NVIDIA H200", capability: "9.0", memory: 150_754_820_096 }
const hello = {
  protocol: scenario === "older" ? 0 : 1,
  worker: "0.1.0",
  python: "3.12.3",
  torch: "2.11.0",
  transformers: "5.24.0",
  triton: null,
  devices: scenario === "gpus" ? [gpu, gpu] : [],
  cuda: scenario === "gpus" ? "13.0" : null,
  cudnn: scenario === "gpus" ? "91900" : null,
  capabilities: ["generate", "score", "influence", "gguf"]
}
const loaded = { model: "m1", dtype: "float32", device: "cpu", parameters: 1, deviceMap: null }

const before = {
  garbage: () => process.stdout.write("Loading checkpoint shards: 100%\n"),
  "no torch": () => {
    say({ fatal: { reason: "MissingPackage", detail: "torch is missing from /usr" } })
    process.exit(3)
  },
  "no gpu": () => {
    say({ fatal: { reason: "NoDevice", detail: "PyTorch sees no CUDA device; check the driver" } })
    process.exit(3)
  },
  "no module": () => {
    console.error("No module named tessera_worker")
    process.exit(1)
  },
  mute: () => new Promise(() => setInterval(() => undefined, 1000)),
  slow: () => new Promise((resolve) => setTimeout(resolve, 700)),
  family: () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"], { stdio: "ignore" })
    note(`${process.pid} ${child.pid}`)
    process.on("SIGTERM", () => note("SIGTERM"))
  }
}
await before[scenario]?.()
say({ hello })
if (scenario !== "lifeless") setInterval(() => say({ alive: true }), 50)

const onLoad = {
  "killed once": (id) => {
    if (existsSync(file)) return say({ id, result: loaded })
    note("killed")
    console.error("about to die")
    process.kill(process.pid, "SIGKILL")
  },
  exits: () => {
    console.error("RuntimeError: CUDA error: an illegal memory access was encountered")
    process.exit(1)
  },
  stuck: () => undefined,
  lifeless: () => undefined,
  stops: () => undefined,
  family: () => undefined,
  "out of memory": (id) =>
    say({ id, error: { reason: "OutOfMemory", detail: "7 GiB are missing; use a shorter length" } }),
  wrong: (id) => say({ id, result: { model: 7 } }),
  works: (id) => {
    let done = 0
    const timer = setInterval(() => {
      say({ id, progress: { done: ++done, total: 4, unit: "items" } })
      if (done < 4) return
      clearInterval(timer)
      say({ id, result: loaded })
    }, 100)
  }
}
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const message = JSON.parse(line)
    if (scenario === "stops") note(line)
    if (scenario === "stops" && "cancel" in message)
      return say({ id: message.cancel, error: { reason: "Interrupted", detail: "stopped" } })
    if (message.method !== "load" && "id" in message)
      return say({ id: message.id, error: { reason: "Unsupported", detail: "this one only loads" } })
    if (message.method === "load") (onLoad[scenario] ?? ((id) => say({ id, result: loaded })))(message.id)
  })
  .on("close", () => scenario !== "family" && process.exit(0))
