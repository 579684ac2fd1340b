import { readFileSync } from "node:fs"
import { Command } from "@effect/cli"
import { HashMap } from "effect"
import { describe, expect, it } from "vitest"
import { flags, tessera } from "../src/Commands.js"

const reference = readFileSync(new URL("../docs/reference.md", import.meta.url), "utf8")
const verbs = [...HashMap.keys(Command.getSubcommands(tessera))].toSorted()

describe("docs/reference.md", () => {
  it.each(verbs)("has %s with all its options", (verb) => {
    expect(reference).toMatch(new RegExp(`^\\| \`${verb}\\b`, "m"))
    const long = flags(verb).filter((flag) => flag.startsWith("--"))
    expect(long.filter((flag) => !new RegExp(`${flag}\\b`).test(reference))).toEqual([])
  })
})
