/** Real processes of a bundled program that prints one event a line. */
import { spawn, type ChildProcess } from "node:child_process"
import { createInterface } from "node:readline"
import { RunEvent } from "@tessera/engine"
import { Schema } from "effect"

export interface Ended {
  readonly events: ReadonlyArray<RunEvent>
  /** Lines that are no events. */
  readonly said: ReadonlyArray<string>
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly errors: string
}

export interface Program {
  readonly child: ChildProcess
  /** Resolves with the first line, from now on or before, that fits; rejects where the program ends without it. */
  readonly line: (fits: (line: string) => boolean) => Promise<string>
  readonly event: (fits: (event: RunEvent) => boolean) => Promise<void>
  readonly ended: Promise<Ended>
}

const decode = Schema.decodeUnknownSync(Schema.parseJson(RunEvent))
const isEvent = (line: string) => line.startsWith('{"_tag"')

export const start = (
  command: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Program => {
  const [file = "", ...args] = command
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] })
  // It may be dead already.
  child.stdin.on("error", () => undefined)
  const lines: Array<string> = []
  const waiting = new Set<(line: string) => void>()
  let errors = ""
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()))
  createInterface({ input: child.stdout }).on("line", (line) => {
    // A killed program may leave half a line.
    if (line.startsWith("{") && !line.endsWith("}")) return
    lines.push(line)
    for (const hear of waiting) hear(line)
  })
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code, signal) =>
      resolve({
        events: lines.filter(isEvent).map((line) => decode(line)),
        said: lines.filter((line) => !isEvent(line)),
        code,
        signal,
        errors
      })
    )
  })
  const line: Program["line"] = (fits) =>
    new Promise((resolve, reject) => {
      const before = lines.find(fits)
      if (before !== undefined) return resolve(before)
      const hear = (line: string) => {
        if (!fits(line)) return
        waiting.delete(hear)
        resolve(line)
      }
      waiting.add(hear)
      void ended.then(() => reject(new Error(`ended before: ${errors}`)))
    })
  return {
    child,
    line,
    event: async (fits) => void (await line((text) => isEvent(text) && fits(decode(text)))),
    ended
  }
}
