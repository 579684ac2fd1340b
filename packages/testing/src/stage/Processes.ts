/**
 * What a stage may leave behind: processes, and files where it ran.
 */
import { readdir, readFile } from "node:fs/promises"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"

/** Marks the environment of everything started from here, so that a grandchild is found after its parent went. */
const MARK = `tessera-testing-${process.pid}-${Date.now()}`

interface Process {
  readonly pid: number
  readonly parent: number
  readonly marked: boolean
  readonly command: string
}

const processes = async (): Promise<ReadonlyArray<Process>> => {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name))
  const all = await Promise.all(
    pids.map(async (pid) => {
      try {
        const [stat, environment, command] = await Promise.all([
          readFile(`/proc/${pid}/stat`, "utf8"),
          readFile(`/proc/${pid}/environ`, "utf8").catch(() => ""),
          readFile(`/proc/${pid}/cmdline`, "utf8")
        ])
        const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        // A zombie holds nothing; its parent has not looked yet.
        if (state === "Z") return []
        const words = command.split("\0").join(" ").trim()
        return [
          { pid: Number(pid), parent: Number(parent), marked: environment.includes(MARK), command: words }
        ]
      } catch {
        // It ended meanwhile.
        return []
      }
    })
  )
  return all.flat()
}

/**
 * Processes that this one started, or that those started, by pid; none where there is no /proc.
 */
export const descendants: Effect.Effect<ReadonlyMap<number, string>> = Effect.promise(async () => {
  const all = await processes()
  const mine = new Map<number, string>()
  const family = new Set([process.pid])
  for (let grown = true; grown;) {
    grown = false
    for (const { pid, parent, marked, command } of all) {
      if (pid === process.pid || mine.has(pid) || (!marked && !family.has(parent))) continue
      family.add(pid)
      mine.set(pid, command)
      grown = true
    }
  }
  return mine
})

/** Sets the mark until the scope closes. */
export const marking: Effect.Effect<void, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => void (process.env["TESSERA_TESTING_MARK"] = MARK)),
  () => Effect.sync(() => delete process.env["TESSERA_TESTING_MARK"])
)

export interface Bare {
  /** Files in the working folder, the home and the folder for temporary files. */
  readonly left: Effect.Effect<ReadonlyArray<string>>
}

/**
 * Until the scope closes: an empty working folder, an empty home, an empty folder for temporary files, and no environment
 * variable but PATH and the named ones.
 */
export const bare = (keep: ReadonlyArray<string>): Effect.Effect<Bare, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "tessera-bare-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    )
    const [work, home, temporary] = yield* Effect.promise(() =>
      Promise.all(["work-", "home-", "tmp-"].map((name) => mkdtemp(join(folder, name))))
    )
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const before = { cwd: process.cwd(), environment: { ...process.env } }
        for (const name of Object.keys(process.env)) {
          if (name !== "PATH" && !keep.includes(name)) delete process.env[name]
        }
        Object.assign(process.env, { HOME: home, TMPDIR: temporary })
        process.chdir(work ?? folder)
        return before
      }),
      ({ cwd, environment }) =>
        Effect.sync(() => {
          process.chdir(cwd)
          for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name]
          Object.assign(process.env, environment)
        })
    )
    return {
      left: Effect.promise(async () => {
        const entries = await readdir(folder, { recursive: true, withFileTypes: true })
        return entries
          .map((entry) => join(entry.parentPath, entry.name))
          .filter((path) => path !== work && path !== home && path !== temporary)
      })
    }
  })

/** Until the scope closes, every clock that says the date is this much ahead. */
export const later = (millis: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        const Real = globalThis.Date
        globalThis.Date = new Proxy(Real, {
          construct: (target, args: ReadonlyArray<unknown>, self) =>
            Reflect.construct(target, args.length === 0 ? [Real.now() + millis] : args, self) as object,
          get: (target, property, receiver) =>
            property === "now"
              ? () => Real.now() + millis
              : (Reflect.get(target, property, receiver) as unknown)
        })
        return Real
      }),
      (Real) => Effect.sync(() => void (globalThis.Date = Real))
    )
  )
