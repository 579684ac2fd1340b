/**
 * What `tessera run` is told about the machine: memory, slots, executors.
 */
import { Effect } from "effect"
import { CliError } from "./Failure.js"

const wrong = (flag: string, text: string, expected: string) =>
  new CliError({ reason: "Parameter", where: `--${flag} ${text}`, detail: `expected ${expected}` })

const units: Readonly<Record<string, number>> = {
  "": 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40
}

/** Bytes of a size such as `48GB` or `512MiB`. */
export const memory = (text: string): Effect.Effect<number, CliError> => {
  const [, number = "", unit = ""] = /^([\d.]+)\s*([a-z]*)$/i.exec(text.trim()) ?? []
  const factor = units[unit.toLowerCase()]
  const bytes = Number(number) * (factor ?? Number.NaN)
  return number !== "" && Number.isFinite(bytes) && bytes > 0
    ? Effect.succeed(Math.round(bytes))
    : Effect.fail(wrong("memory", text, "a size such as 48GB or 512MiB"))
}

const assignments = <A>(
  flag: string,
  texts: ReadonlyArray<string>,
  expected: string,
  read: (value: string) => A | undefined
): Effect.Effect<Readonly<Record<string, A>>, CliError> =>
  Effect.map(
    Effect.forEach(texts, (text) => {
      const at = text.indexOf("=")
      const value = at > 0 ? read(text.slice(at + 1)) : undefined
      return value === undefined
        ? Effect.fail(wrong(flag, text, expected))
        : Effect.succeed([text.slice(0, at), value] as const)
    }),
    Object.fromEntries
  )

const slotsOf = (text: string): number | ReadonlyArray<string> | undefined => {
  if (/^\d+$/.test(text)) return Number(text)
  const list = /^\[(.*)\]$/.exec(text.trim())?.[1]
  const names = list?.split(",").map((name) => name.trim().replace(/^"(.*)"$/, "$1"))
  return names?.every((name) => name !== "") === true ? names : undefined
}

/** `gpu=2` for two of them, `gpu=[0,3]` for these two. */
export const slots = (texts: ReadonlyArray<string>) =>
  assignments("slot", texts, "name=count, or name=[first,second]", slotsOf)

/** `node=process` */
export const executors = (texts: ReadonlyArray<string>) =>
  assignments("executor", texts, "node=inline or node=process", (name) => (name === "" ? undefined : name))
