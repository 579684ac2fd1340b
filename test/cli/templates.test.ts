/** Templates of a stage are code: an edit reruns it, and explain names the file. */
import { appendFileSync, cpSync, symlinkSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { folder, tessera } from "./Tessera.js"

const plugin = fileURLToPath(new URL("../../plugins/codegen-triton", import.meta.url))

const PIPELINE = `
import * as NodeContext from "@effect/platform-node/NodeContext"
import { PlanDocument } from "@tessera/attention"
import { pipeline, provide, stage } from "@tessera/core"
import { Effect, Schema } from "effect"
import { emitTriton } from "./kernels/src/index.js"
import { small } from "./kernels/test/plans.js"

const choose = stage("choose", {
  version: "1",
  module: import.meta.url,
  inputs: {},
  outputs: { plan: PlanDocument },
  params: Schema.Struct({}),
  run: () => Effect.succeed({ plan: small })
})
export default provide(
  pipeline("emit", { kernels: emitTriton({ plan: choose({}, {}).plan }, {}).kernels }),
  NodeContext.layer
)
`

it("explain names the kernel template that was edited", async () => {
  const cwd = folder()
  for (const part of ["src", "python/template", "test/plans.ts", "package.json"])
    cpSync(path.join(plugin, part), path.join(cwd, "kernels", part), { recursive: true })
  symlinkSync(path.join(plugin, "node_modules"), path.join(cwd, "kernels/node_modules"))
  writeFileSync(path.join(cwd, "emit.ts"), PIPELINE)
  writeFileSync(path.join(cwd, "package.json"), JSON.stringify({ type: "module" }))
  symlinkSync(fileURLToPath(new URL("../../node_modules", import.meta.url)), path.join(cwd, "node_modules"))

  const first = await tessera(["run", "emit.ts"], { cwd })
  expect([first.stderr.includes("✗"), first.code]).toEqual([false, 0])
  appendFileSync(path.join(cwd, "kernels/python/template/src/tessera_kernels/decode.py"), "# edited\n")
  const { stdout } = await tessera(["explain", "emit.ts", "codegen-triton"], { cwd })
  expect(stdout).toMatch(/code changed: \S*python\/template\/src\/tessera_kernels\/decode\.py/)
  expect((await tessera(["run", "emit.ts"], { cwd })).stdout).toMatch(/1 executed, 1 cached/)
})
