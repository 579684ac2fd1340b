/**
 * The Python sources that every emitted package shares: real files, kept in `python/template` beside `src`.
 */
import { fileURLToPath } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect } from "effect"
import { CodegenError } from "./Errors.js"

/** The import name that the templates carry; replaced by the emitted package's. */
export const templateName = "tessera_kernels"

/** Every file that is emitted as it stands but for the name; what tools leave beside them is not. */
export const templateFiles: ReadonlyArray<string> = [
  "LICENSE",
  "bench/bench.py",
  "bench/flex_peer.py",
  "bench/prefill.py",
  "bench/timing.py",
  "pyproject.toml",
  `src/${templateName}/__init__.py`,
  `src/${templateName}/checks.py`,
  `src/${templateName}/decode.py`,
  `src/${templateName}/hopper_walk.py`,
  `src/${templateName}/past.py`,
  `src/${templateName}/prefill.py`,
  `src/${templateName}/prefill_hopper.py`,
  `src/${templateName}/py.typed`,
  `src/${templateName}/reference.py`,
  `src/${templateName}/rule.py`,
  `src/${templateName}/spans.py`,
  `src/${templateName}/tables.py`,
  `src/${templateName}/tiles.py`,
  "tests/conftest.py",
  "tests/helpers.py",
  "tests/test_hopper.py",
  "tests/test_kernels.py",
  "tests/test_prefill.py",
  "tests/test_spans.py"
]

/** All of it decides what is emitted. */
export const templateFolder = new URL("../python/template/", import.meta.url)

/** The templates by file name, in the order of `templateFiles`. */
export const templates: Effect.Effect<
  ReadonlyArray<readonly [file: string, text: string]>,
  CodegenError,
  FileSystem.FileSystem
> = Effect.flatMap(FileSystem.FileSystem, (fs) =>
  Effect.forEach(
    templateFiles,
    (file) =>
      fs.readFileString(`${fileURLToPath(templateFolder)}${file}`).pipe(
        Effect.map((text) => [file, text] as const),
        Effect.mapError(
          (cause) =>
            new CodegenError({
              reason: "Template",
              where: `python/template/${file}`,
              detail: "cannot be read; reinstall @tessera/codegen-triton",
              cause
            })
        )
      ),
    { concurrency: 8 }
  )
)
