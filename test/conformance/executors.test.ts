/** The engine's executors keep the contract of an executor. */
import { fileURLToPath } from "node:url"
import { inline, Process } from "@tessera/engine"
import { testExecutor } from "@tessera/testing"

testExecutor("inline", { executor: inline })

const worker = fileURLToPath(new URL("../../packages/engine/src/jobMain.ts", import.meta.url))
testExecutor("process", {
  executor: Process.make({ command: [process.execPath, "--import", "tsx", worker] })
})
