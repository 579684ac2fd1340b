/**
 * The Python sources that every emitted package shares: real files, kept in `python/template` beside `src`.
 */
import { fileURLToPath } from "node:url"
import * as FileSystem from "@effect/platform/FileSystem"
import { sha256 } from "@tessera/core"
import { Effect } from "effect"
import { CodegenError } from "./Errors.js"

/** The import name that the templates carry; replaced by the emitted package's. */
export const templateName = "tessera_kernels"

/** Every file that is emitted as it stands but for the name; caches and drafts in the folder are not. */
export const templateFiles: ReadonlyArray<string> = [
  "LICENSE",
  "bench/bench.py",
  "pyproject.toml",
  `src/${templateName}/__init__.py`,
  `src/${templateName}/checks.py`,
  `src/${templateName}/decode.py`,
  `src/${templateName}/prefill.py`,
  `src/${templateName}/py.typed`,
  `src/${templateName}/reference.py`,
  `src/${templateName}/spans.py`,
  `src/${templateName}/tables.py`,
  `src/${templateName}/tiles.py`,
  "tests/conftest.py",
  "tests/test_kernels.py",
  "tests/test_spans.py"
]

const folder = fileURLToPath(new URL("../python/template/", import.meta.url))

/** The templates by file name, in the order of `templateFiles`. */
export const templates: Effect.Effect<
  ReadonlyArray<readonly [file: string, text: string]>,
  CodegenError,
  FileSystem.FileSystem
> = Effect.flatMap(FileSystem.FileSystem, (fs) =>
  Effect.forEach(
    templateFiles,
    (file) =>
      fs.readFileString(`${folder}${file}`).pipe(
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

/** Digest of all templates: part of the stage's key. */
export const templatesDigest = Effect.map(templates, (files) =>
  sha256(files.map(([file, text]) => `${file}\0${sha256(text)}\n`).join(""))
)
