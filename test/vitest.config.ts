import { defineConfig } from "vitest/config"

const report = process.env["TESSERA_TEST_REPORT"]

export default defineConfig({
  test: {
    root: new URL("..", import.meta.url).pathname,
    include: ["packages/*/test/**/*.test.ts", "plugins/*/test/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The suites that run models use every core already.
    maxWorkers: 2,
    ...(report === undefined ? {} : { reporters: ["default", "json"] as const, outputFile: { json: report } })
  }
})
