/**
 * Where data enters a pipeline: a folder or a file outside the store. Its content decides keys; its path never does.
 */
import { Effect, Schema } from "effect"
import type { Tree } from "./Port.js"
import * as Ref from "./Ref.js"
import { stage } from "./Stage.js"

/**
 * Refers to a folder (or a single file, as a tree of one) without copying it.
 *
 * @param path absolute, or relative to the current folder; a `file:` URL made with `import.meta.url` is relative to the
 *   pipeline.
 */
export const source = <const Id extends string>(
  type: Tree<Id>,
  path: string | URL,
  options?: { readonly name?: string }
): Ref.Ref<Tree<Id>> => {
  const name = options?.name ?? type.id.replace(/\/.*$/, "").toLowerCase()
  const origin = stage(name, {
    version: "1",
    module: import.meta.url,
    description: "Content from outside the store",
    inputs: {},
    outputs: { tree: type },
    params: Schema.Struct({}),
    run: () => Effect.dieMessage("a source is adopted by the engine, not executed")
  })
  return Ref.make(type, {
    node: { stage: origin, name, inputs: {}, params: {}, each: false, source: path },
    port: "tree",
    view: { _tag: "Whole" }
  })
}
