/**
 * Golden keys: whole small pipelines whose code, inputs and parameters are fixed, with the keys and manifests they have
 * had since the golden file was written. A key that changes by accident makes every user compute everything again.
 */
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
import {
  document,
  float32,
  gather,
  int32,
  int64,
  list,
  nullable,
  pipeline,
  type Pipeline,
  shard,
  source,
  stage,
  table,
  type Targets,
  timestampMicros,
  tree,
  utf8
} from "@tessera/core"
import { run } from "@tessera/engine"
import { FileStore, Store } from "@tessera/store"
import { Chunk, Effect, Schema, Stream } from "effect"
import { afterAll, expect, it } from "vitest"

const file = new URL("golden/pipelines.json", import.meta.url)

const WHY = `Keys changed. If that was not the purpose, undo what changed them: stores of users would be computed again.
If it was, count up the version of keys (Manifest.format and the domain text of key() in packages/core/src/Key.ts), then
write the golden file anew: UPDATE_GOLDEN=1 npx vitest run --config test/vitest.config.ts test/keys/golden.test.ts`

/** Code of its own, so that only what decides keys can change them: a module, what it imports, and a locked package. */
const SOURCES = {
  "package.json": `{ "name": "golden", "version": "1.0.0" }`,
  "pnpm-lock.yaml": `lockfileVersion: '9.0'

packages:

  dep@1.2.3:
    resolution: {integrity: sha512-Z29sZGVu}

  deep@2.0.0:
    resolution: {integrity: sha512-ZGVlcA==}
`,
  "node_modules/dep/package.json": `{ "name": "dep", "version": "1.2.3", "type": "module", "dependencies": { "deep": "*" } }`,
  "node_modules/dep/index.js": "export const half = (x) => x / 2\n",
  "node_modules/deep/package.json": `{ "name": "deep", "version": "2.0.0" }`,
  "stage.ts": `import { join } from "node:path"
import { half } from "dep"
import { scaled, type Scale } from "./lib/scale.js"
/** Doubles, or halves. */
export class Rule { apply(x: number, scale: Scale): number { return scale === "up" ? scaled(x) : half(x) } }
export const names = (a: string) => join(a, \`\${new Rule().apply(1, "up")}\`)
export const late = async () => (await import("./lib/late.js")).late
`,
  "lib/scale.ts": `export type Scale = "up" | "down"
export enum Unit { Token, Block }
const unused = 1
export const scaled = (x: number): number => (x ?? Unit.Block) * 2 // twice
`,
  "lib/late.ts": `export const late = { of: [1, 2.5, "text"], when: null }
`,
  "python/worker.py": `print("worker")\n`,
  "python/__pycache__/worker.pyc": "left over",
  "data/a.txt": "alpha\n",
  "data/b/c.txt": "beta\n"
}

const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-golden-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))
for (const [name, text] of Object.entries(SOURCES)) {
  mkdirSync(dirname(join(root, name)), { recursive: true })
  writeFileSync(join(root, name), text)
}
const at = (name: string) => pathToFileURL(join(root, name))

const Everything = table("Everything/1", {
  name: utf8,
  n: int32,
  big: nullable(int64),
  score: float32,
  at: timestampMicros,
  tokens: list(int32)
})
const Folder = tree("Folder/1")
const Report = document(
  "Report/1",
  Schema.Struct({
    total: Schema.Number,
    at: Schema.Date,
    parts: Schema.optional(Schema.Array(Schema.NonEmptyString)),
    unit: Schema.Literal("token", "block")
  }).annotations({ identifier: "Report" })
)

const module = at("stage.ts").href
const rows = stage("rows", {
  version: "1",
  module,
  inputs: { data: Folder },
  outputs: { rows: Everything },
  params: Schema.Struct({
    count: Schema.Int,
    since: Schema.optionalWith(Schema.Date, { default: () => new Date(0) }),
    nested: Schema.Struct({ ratio: Schema.Number, label: Schema.NullOr(Schema.String) })
  }),
  run: (_, { count, nested }) =>
    Effect.succeed({
      rows: Stream.range(0, count - 1).pipe(
        Stream.map((n) => ({
          name: n % 2 === 0 ? "even" : "öd\u{1f600}",
          n,
          big: n === 0 ? null : 2n ** 60n + BigInt(n),
          score: n * nested.ratio,
          at: 1_700_000_000_000 + n,
          tokens: Array.from({ length: n }, (_, i) => i)
        }))
      )
    })
})
const each = stage("each", {
  version: "2",
  module: at("lib/scale.ts").href,
  inputs: { rows: Everything },
  outputs: { rows: Everything },
  params: Schema.Struct({}),
  reproducible: "device",
  fingerprint: Effect.succeed({
    facts: { runtime: "cpu" },
    device: { chip: "golden" },
    modules: [module]
  }),
  run: ({ rows }) => Effect.succeed({ rows: rows.rows })
})
const report = stage("report", {
  version: "1",
  module: at("lib/late.ts").href,
  assets: [at("python/")],
  inputs: { rows: Everything },
  outputs: { report: Report, files: Folder },
  params: Schema.Struct({
    unit: Schema.optionalWith(Schema.Literal("token", "block"), { default: () => "token" })
  }),
  run: ({ rows }, { unit }) =>
    Effect.map(
      Stream.runFold(rows.rows, 0, (sum, { n }) => sum + n),
      (total) => ({
        report: { total, at: new Date(0), unit },
        files: { files: { "total.txt": String(total), "bin/raw": new Uint8Array([0, 255]) } }
      })
    )
})

const whole = pipeline("whole", Schema.Struct({}), () => {
  const made = rows({ data: source(Folder, at("data/")) }, { count: 5, nested: { ratio: 0.1, label: null } })
  return report({ rows: made.rows }, {})
})
const sharded = pipeline("sharded", Schema.Struct({}), () => {
  const made = rows(
    { data: source(Folder, at("data/b/c.txt")) },
    { count: 4, nested: { ratio: 1e-7, label: "\u20ac" } }
  )
  const all = gather(each.each({ rows: shard(made.rows, "name") }, {}).rows)
  return report({ rows: all }, { unit: "block" })
})

/** Everything that a store holds after a run, but for times: manifests and digests by key. */
const actionsOf = <T extends Targets, E>(name: string, pipeline: Pipeline<T, E, never>) =>
  Effect.gen(function* () {
    yield* run(pipeline)
    const store = yield* Store
    const actions = yield* Stream.runCollect(store.actions)
    return Object.fromEntries(
      Chunk.toReadonlyArray(actions)
        .filter(({ node }) => node !== "tessera/code")
        .map(({ key, manifest, outputs }) => [key, { manifest, outputs }] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1))
    )
  }).pipe(Effect.provide(FileStore.layer({ root: join(root, "store", name) })), Effect.orDie)

it("keys, manifests and results of fixed pipelines are what they were", async () => {
  const found = {
    whole: await Effect.runPromise(actionsOf("whole", whole)),
    sharded: await Effect.runPromise(actionsOf("sharded", sharded))
  }
  const plain: unknown = JSON.parse(JSON.stringify(found))
  if (process.env["UPDATE_GOLDEN"] !== undefined)
    writeFileSync(file, `${JSON.stringify(plain, undefined, 2)}\n`)
  expect(plain, WHY).toEqual(JSON.parse(readFileSync(file, "utf8")))
})
