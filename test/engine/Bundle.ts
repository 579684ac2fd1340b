/** Programs in one file, so that many processes of them start quickly. Their stages keep the keys of their sources. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as esbuild from "esbuild"

const engine = createRequire(join(import.meta.dirname, "../../packages/engine/package.json"))

/** @param source a module in this repository */
export const bundle = async (source: string, outfile: string): Promise<string> => {
  const base = pathToFileURL(engine.resolve("@tessera/core")).href
  await esbuild.build({
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    minify: true,
    logLevel: "silent",
    // Packages that are no ES modules call it.
    banner: {
      js: `import { createRequire } from "node:module"; const require = createRequire(${JSON.stringify(base)});`
    },
    plugins: [
      {
        name: "sources",
        setup: (build) => {
          build.onResolve({ filter: /^esbuild$/ }, () => ({
            path: engine.resolve("esbuild"),
            external: true
          }))
          build.onLoad({ filter: /\.ts$/ }, ({ path }) => ({
            loader: "ts",
            contents: readFileSync(path, "utf8").replaceAll(
              "import.meta.url",
              JSON.stringify(pathToFileURL(path).href)
            )
          }))
        }
      }
    ]
  })
  return outfile
}
