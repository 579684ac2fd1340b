import type { Manifest } from "@tessera/core"
import { expect, it } from "vitest"
import { differences } from "../src/Difference.js"

const base: Manifest = {
  format: 1,
  stage: "s",
  version: "1",
  code: "c1",
  params: { density: 0.5, rule: { alpha: 1, beta: [1, 2] }, text: "a" },
  inputs: { influence: ["Influence/1", "d1"], model: ["Model/1", "m1"] },
  outputs: { plan: "Plan/1" },
  environment: { onnxruntime: "1.29" }
}
const none = { before: undefined, after: undefined }

it("says in words what changed", () => {
  const after: Manifest = {
    ...base,
    version: "2",
    params: { density: 0.25, rule: { alpha: 2, beta: [1, 2] }, extra: "x".repeat(60) },
    inputs: { influence: ["Influence/1", "d2"], model: ["Model/2", "m1"] },
    outputs: { plan: "Plan/2" },
    environment: { onnxruntime: "1.30", "device:chip": "h200" }
  }
  expect(differences(base, after, none)).toEqual([
    "version 1 → 2",
    "param density 0.5 → 0.25",
    `param extra unset → ${"x".repeat(39)}…`,
    "param rule.alpha 1 → 2",
    "param text a → unset",
    "input influence changed",
    "input model is Model/2, was Model/1",
    "output plan has another schema",
    "device:chip unset → h200",
    "onnxruntime 1.29 → 1.30"
  ])
  expect(differences(base, base, none)).toEqual([])
})

it("names changed files and packages", () => {
  const before = {
    files: { "p/a.ts": "1", "p/b.ts": "1", "p/gone.ts": "1" },
    packages: ["effect@3.1.0 x", "z@1.0.0"]
  }
  const after = {
    files: { "p/a.ts": "2", "p/b.ts": "1", "p/new.ts": "1" },
    packages: ["effect@3.2.0 y", "z@1.0.0"]
  }
  const changed = { ...base, code: "c2" }
  expect(differences(base, changed, { before, after })).toEqual([
    "code changed: p/a.ts, p/gone.ts, p/new.ts, effect@3.2.0"
  ])
  expect(differences(base, changed, { before, after: undefined })).toEqual(["code changed"])
})
