/**
 * Results go to stdout, everything else to stderr. With `--json` stdout holds JSON and nothing else.
 */
import { Effect } from "effect"
import * as Style from "./Style.js"

const write = (stream: NodeJS.WriteStream, text: string) =>
  Effect.async<void>((resume) => {
    // A reader that went away is dealt with where the process ends.
    stream.write(text, () => resume(Effect.void))
  })

export const out = (text: string): Effect.Effect<void> => write(process.stdout, `${text}\n`)

export const err = (text: string): Effect.Effect<void> => write(process.stderr, `${text}\n`)

/** One document, indented for a terminal. */
export const json = (value: unknown): Effect.Effect<void> =>
  out(JSON.stringify(value, undefined, process.stdout.isTTY ? 2 : undefined))

export const style: Style.Style = Style.of(process.stdout)
