/**
 * The Python sources that every emitted package shares: real files, kept in `python/template` beside `src`.
 */
import type { Templates } from "@tessera/codegen"

/** The import name that the templates carry. */
const name = "tessera_masks"

/** Every file that is emitted as it stands but for the name; what tools leave beside them is not. */
export const templateFiles: ReadonlyArray<string> = [
  "LICENSE",
  "pyproject.toml",
  `src/${name}/__init__.py`,
  `src/${name}/attention.py`,
  `src/${name}/masks.py`,
  `src/${name}/py.typed`,
  "tests/test_masks.py"
]

/** All of it decides what is emitted. */
export const templateFolder = new URL("../python/template/", import.meta.url)

export const templates: Templates = {
  owner: "@tessera/codegen-flex",
  folder: templateFolder,
  name,
  files: templateFiles
}
