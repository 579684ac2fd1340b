/**
 * From a vega-lite specification to SVG text.
 */
import { Effect } from "effect"
import type { TopLevelSpec } from "vega-lite"
import { ReportError } from "./Errors.js"
import { config, darkStyle } from "./Theme.js"

declare module "vega" {
  /** Exported, and missing from the declarations. */
  export const textMetrics: { readonly canvas: (use: boolean) => void }
}

/** vega numbers gradients and clips of a picture with counters of the process. */
const oneAtATime = Effect.unsafeMakeSemaphore(1)

const svgOf = async (spec: TopLevelSpec): Promise<string> => {
  // Loaded where something is drawn: it takes longer than most verbs.
  const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")])
  // Widths of texts are estimated: measured ones depend on whether a canvas and which fonts are installed.
  vega.textMetrics.canvas(false)
  const view = new vega.View(vega.parse(compile(spec, { config }).spec), { renderer: "none" })
  try {
    vega.resetSVGDefIds()
    return await view.toSVG()
  } finally {
    view.finalize()
  }
}

/** Draws in the project's look. Equal specifications give equal bytes. */
export const render = (spec: TopLevelSpec): Effect.Effect<string, ReportError> =>
  Effect.tryPromise({
    try: () => svgOf(spec),
    catch: (cause) =>
      new ReportError({
        reason: "Renderer",
        detail: `the picture could not be drawn: ${String(cause)}`,
        cause
      })
  }).pipe(
    oneAtATime.withPermits(1),
    Effect.map((svg) => `${svg.replace(/^<svg [^>]*>/, (open) => open + darkStyle)}\n`)
  )
