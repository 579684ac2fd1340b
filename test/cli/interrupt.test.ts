import { readdirSync } from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"
import { fixture, folder, tessera } from "./Tessera.js"

const slow = fixture("slow")

/** Files under a folder, sorted. */
const files = (at: string): ReadonlyArray<string> =>
  readdirSync(at, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort()

it("Ctrl-C ends with 130, leaves nothing half-written, and the next run goes on from there", async () => {
  const cwd = folder()
  let sent = false
  const interrupted = await tessera(["run", slow, "--concurrency", "1", "--verbose"], {
    cwd,
    env: { SLOW_MILLIS: "60000" },
    onStderr: (text, kill) => {
      if (sent || !/> work/.test(text)) return
      sent = true
      // The first three shards are quick; the fourth is under way by then.
      setTimeout(() => kill("SIGINT"), 2000)
    }
  })
  expect(interrupted.code).toBe(130)
  expect(interrupted.stderr).toContain("interrupted")
  const left = files(path.join(cwd, ".tessera"))
  expect(left.filter((file) => /tmp|scratch|lease/.test(path.relative(cwd, file)))).toEqual([])

  const resumed = await tessera(["run", slow], { cwd })
  expect(resumed.stdout).toMatch(/3 executed, 4 cached/)
  expect(resumed.code).toBe(0)
})

it("SIGTERM ends with 143", async () => {
  let sent = false
  const ended = await tessera(["run", slow], {
    cwd: folder(),
    env: { SLOW_MILLIS: "60000" },
    onStderr: (text, kill) => {
      if (sent || !/> work/.test(text)) return
      sent = true
      kill("SIGTERM")
    }
  })
  expect(ended.code).toBe(143)
})
