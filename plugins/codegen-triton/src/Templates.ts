/**
 * The Python sources that every emitted package shares: real files, kept in `python/template` beside `src`.
 */
import type { Templates } from "@tessera/codegen"

/** The import name that the templates carry. */
const name = "tessera_kernels"

/** Every file that is emitted as it stands but for the name; what tools leave beside them is not. */
export const templateFiles: ReadonlyArray<string> = [
  "LICENSE",
  "bench/decode.py",
  "bench/errors.py",
  "bench/flex_peer.py",
  "bench/generate.py",
  "bench/prefill.py",
  "bench/timing.py",
  "pyproject.toml",
  `src/${name}/__init__.py`,
  `src/${name}/append.py`,
  `src/${name}/attend.py`,
  `src/${name}/cache.py`,
  `src/${name}/checks.py`,
  `src/${name}/decode.py`,
  `src/${name}/hopper_kernel.py`,
  `src/${name}/hopper_walk.py`,
  `src/${name}/huggingface.py`,
  `src/${name}/layout.py`,
  `src/${name}/past.py`,
  `src/${name}/plan_cache.py`,
  `src/${name}/prefill.py`,
  `src/${name}/prefill_hopper.py`,
  `src/${name}/py.typed`,
  `src/${name}/reference.py`,
  `src/${name}/rule.py`,
  `src/${name}/spans.py`,
  `src/${name}/splits.py`,
  `src/${name}/tables.py`,
  `src/${name}/tiles.py`,
  "tests/conftest.py",
  "tests/helpers.py",
  "tests/test_cache.py",
  "tests/test_decode.py",
  "tests/test_hopper.py",
  "tests/test_huggingface.py",
  "tests/test_prefill.py",
  "tests/test_spans.py"
]

/** All of it decides what is emitted. */
export const templateFolder = new URL("../python/template/", import.meta.url)

export const templates: Templates = {
  owner: "@tessera/codegen-triton",
  folder: templateFolder,
  name,
  files: templateFiles
}
