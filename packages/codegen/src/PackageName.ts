/**
 * The import name of an emitted package.
 */
import { Schema } from "effect"

const meaning =
  "a package name is up to 48 lower-case letters, digits and single underscores, such as tessera_moa_25"

export const PackageName = Schema.String.pipe(
  Schema.pattern(/^(?=.{1,48}$)[a-z][a-z0-9]*(_[a-z0-9]+)*$/, {
    identifier: "PackageName",
    message: () => meaning
  })
)

/** `tessera_` and the plan's name, everything but letters and digits as underscores; `tessera_plan` where nothing is left. */
export const packageNameOf = (planName: string): string =>
  `tessera_${planName.toLowerCase().replace(/[^a-z0-9]+/g, "_")}`
    .slice(0, 48)
    .replace(/_+/g, "_")
    .replace(/_$/, "")
    .replace(/^tessera$/, "tessera_plan")
