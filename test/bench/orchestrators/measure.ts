/**
 * A command in a fresh process, with a time limit: its wall time and the processor time of it and its children.
 */
import { spawn } from "node:child_process"
import type { Command } from "./tools.js"

export interface Measured {
  readonly wall: number
  /** User and system seconds. */
  readonly cpu: number
  readonly stdout: string
}

export const TIMED_OUT = Symbol("timed out")

/** Fails with the end of what the command wrote if it does not succeed. */
export const measure = (
  { argv, env = {} }: Command,
  cwd: string,
  limitSeconds: number
): Promise<Measured | typeof TIMED_OUT> =>
  new Promise((resolve, reject) => {
    // bash's own `time` knows what children of the command took.
    const script = 'TIMEFORMAT="%R %U %S"; exec 3>&2; { time "$@" 2>&3 ; } 2>&4'
    const child = spawn("bash", ["-c", script, "bash", ...argv], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe", "ignore", "pipe"],
      // A group of its own, so that its children end with it.
      detached: true
    })
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL")
    }, limitSeconds * 1000)
    const texts = ["", "", ""]
    for (const [i, fd] of [1, 2, 4].entries())
      child.stdio[fd]?.on("data", (text) => (texts[i] += String(text)))
    child.on("error", reject)
    child.on("close", (code) => {
      clearTimeout(timer)
      const [stdout = "", stderr = "", time = ""] = texts
      if (timedOut) return resolve(TIMED_OUT)
      if (code !== 0) {
        return reject(new Error(`${argv.join(" ")} ended with ${code}:\n${(stdout + stderr).slice(-2000)}`))
      }
      const [wall = NaN, user = NaN, system = NaN] = time.trim().split(/\s+/).map(Number)
      resolve({ wall, cpu: user + system, stdout })
    })
  })
