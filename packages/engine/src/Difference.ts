/**
 * The difference of two manifests, in words.
 */
import type { Json, Manifest } from "@tessera/core"
import type { CodeRecord } from "./Code.js"

const short = (value: Json | undefined): string => {
  if (value === undefined) return "unset"
  const text = typeof value === "string" ? value : JSON.stringify(value)
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}

const isRecord = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const changes = <A>(
  before: Readonly<Record<string, A>>,
  after: Readonly<Record<string, A>>,
  same: (a: A, b: A) => boolean
): ReadonlyArray<readonly [name: string, before: A | undefined, after: A | undefined]> =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((name) => {
    const [a, b] = [before[name], after[name]]
    return a === b || (a !== undefined && b !== undefined && same(a, b)) ? [] : [[name, a, b] as const]
  })

const equalJson = (a: Json, b: Json) => JSON.stringify(a) === JSON.stringify(b)
const equal = (a: string, b: string) => a === b

const params = (before: Json | undefined, after: Json | undefined, path: string): ReadonlyArray<string> =>
  isRecord(before) && isRecord(after)
    ? changes(before, after, equalJson).flatMap(([name, a, b]) =>
        params(a, b, path === "" ? name : `${path}.${name}`)
      )
    : [`param${path === "" ? "s" : ` ${path}`} ${short(before)} → ${short(after)}`]

/** What differs in two sets of parameters; empty where they are equal. */
export const changedParams = (before: Json, after: Json): ReadonlyArray<string> =>
  equalJson(before, after) ? [] : params(before, after, "")

const code = (before: CodeRecord | undefined, after: CodeRecord | undefined): string => {
  if (before === undefined || after === undefined) return "code changed"
  const files = changes(before.files, after.files, equal).map(([name]) => name)
  const had = new Set(before.packages)
  const packages = after.packages.filter((id) => !had.has(id)).map((id) => id.split(" ")[0])
  const parts = [...files, ...packages]
  const shown =
    parts.length > 5 ? `${parts.slice(0, 5).join(", ")} and ${parts.length - 5} more` : parts.join(", ")
  return parts.length === 0 ? "code changed" : `code changed: ${shown}`
}

export interface Codes {
  readonly before: CodeRecord | undefined
  readonly after: CodeRecord | undefined
}

type Input = Manifest["inputs"][string]
const equalInput = (a: Input, b: Input) => a[0] === b[0] && a[1] === b[1]

/** Ports whose content or contract differs. */
export const changedInputs = (before: Manifest, after: Manifest): ReadonlyArray<string> =>
  changes(before.inputs, after.inputs, equalInput).map(([port]) => port)

const inputs = (
  before: Manifest,
  after: Manifest,
  causes: Readonly<Record<string, string>>
): ReadonlyArray<string> =>
  changes(before.inputs, after.inputs, equalInput).map(([port, a, b]) => {
    if (a === undefined) return `input ${port} is new`
    if (b === undefined) return `input ${port} is gone`
    if (a[0] !== b[0]) return `input ${port} is ${b[0]}, was ${a[0]}`
    const cause = causes[port]
    return `input ${port} changed${cause === undefined ? "" : ` because ${cause}`}`
  })

/** What differs in the stage itself and what it ran on; its inputs are left out. */
export const ownDifferences = (before: Manifest, after: Manifest, codes: Codes): ReadonlyArray<string> => [
  ...stageDifferences(before, after, codes),
  ...outcomeDifferences(before, after)
]

const stageDifferences = (before: Manifest, after: Manifest, codes: Codes): ReadonlyArray<string> => [
  ...(before.stage === after.stage ? [] : [`stage ${before.stage} → ${after.stage}`]),
  ...(before.version === after.version ? [] : [`version ${before.version} → ${after.version}`]),
  ...(before.code === after.code ? [] : [code(codes.before, codes.after)]),
  ...changedParams(before.params, after.params)
]

const outcomeDifferences = (before: Manifest, after: Manifest): ReadonlyArray<string> => [
  ...changes(before.outputs, after.outputs, equal).map(([port]) => `output ${port} has another schema`),
  ...changes(before.environment, after.environment, equal).map(
    ([fact, a, b]) => `${fact} ${a ?? "unset"} → ${b ?? "unset"}`
  )
]

/**
 * Empty where they are equal.
 *
 * @param causes why an input changed, by port
 */
export const differences = (
  before: Manifest,
  after: Manifest,
  codes: Codes,
  causes: Readonly<Record<string, string>> = {}
): ReadonlyArray<string> => [
  ...stageDifferences(before, after, codes),
  ...inputs(before, after, causes),
  ...outcomeDifferences(before, after)
]
