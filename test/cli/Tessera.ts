/** Runs the real command as a child process. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { onTestFinished } from "vitest"

export const bin = fileURLToPath(new URL("../../packages/cli/bin/tessera.js", import.meta.url))

export const fixture = (name: string): string =>
  fileURLToPath(new URL(`fixtures/${name}.ts`, import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

export interface Options {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  /** Called with all of stderr so far, whenever there is more. */
  readonly onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void
}

export const tessera = (args: ReadonlyArray<string>, { cwd, env, onStderr }: Options): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...args], {
      cwd,
      env: {
        ...process.env,
        TESSERA_STORE: undefined,
        TESSERA_DEBUG: undefined,
        TESSERA_REMOTE: undefined,
        ...env
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
      onStderr?.(stderr, (signal) => child.kill(signal))
    })
    child.on("error", reject)
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
  })

/** An empty folder outside the workspace, gone after the test. */
export const folder = (): string => {
  const made = mkdtempSync(path.join(tmpdir(), "tessera-cli-"))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

/** The JSON lines of a text. */
export const lines = (text: string): ReadonlyArray<Record<string, unknown>> =>
  text
    .trim()
    .split("\n")
    .map((line): Record<string, unknown> => JSON.parse(line))
