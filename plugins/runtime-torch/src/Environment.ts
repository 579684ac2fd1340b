/**
 * Makes the Python environment of a lock file, once per user: others wait for it, an interrupted one goes on from where it
 * was.
 */
import { execFile } from "node:child_process"
import { mkdir, open, readFile, rename, rm, stat, statfs, utimes } from "node:fs/promises"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Progress } from "@tessera/core"
import { Effect, Runtime, type Scope } from "effect"
import * as ChildProcess from "./ChildProcess.js"
import { EnvironmentError } from "./Errors.js"
import { environmentsFolder, lockDigest } from "./Interpreter.js"

const run = promisify(execFile)

/** A Python that environments can be made with. */
export interface BasePython {
  readonly program: string
  /** Python's name for its version, such as `cpython-312`. */
  readonly tag: string
}

// New enough, and with what `python -m venv` needs (Debian packages that apart).
const probe =
  "import sys, venv, ensurepip; assert sys.version_info >= (3, 10); print(sys.implementation.cache_tag)"

/** The first of the PATH's Pythons that will do. */
export const basePython: Effect.Effect<BasePython, EnvironmentError> = Effect.promise(async () => {
  for (const program of ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"]) {
    const tag = await run(program, ["-c", probe]).then(
      ({ stdout }) => stdout.trim(),
      () => undefined
    )
    if (tag !== undefined) return { program, tag }
  }
  return undefined
}).pipe(
  Effect.flatMap((found) =>
    found === undefined
      ? new EnvironmentError({
          reason: "NoPython",
          detail:
            "there is no Python 3.10 or newer with its venv module on the PATH; install one (Debian and Ubuntu: apt install python3-venv)"
        })
      : Effect.succeed(found)
  )
)

export interface Wanted {
  /** The requirements with their hashes. */
  readonly lock: URL
  /** What must be importable in the end. */
  readonly modules: ReadonlyArray<string>
  /** Bytes that it takes, at most: told before anything is fetched. */
  readonly bytes?: number
}

/** Where the environment of a lock is, or would be. */
export const environmentPath = ({ lock }: Pick<Wanted, "lock">, { tag }: BasePython): Effect.Effect<string> =>
  Effect.promise(async () => join(environmentsFolder(), `${await lockDigest(lock)}-${tag}`))

/** Where Python keeps its bytecode: beside no source, whose folder may be read-only and is part of keys. */
export const bytecodeFolder = (): string => join(environmentsFolder(), "bytecode")

export const interpreterIn = (environment: string): string => join(environment, "bin", "python")

const failed = (reason: EnvironmentError["reason"], detail: string) => (cause: unknown) =>
  new EnvironmentError({
    reason,
    detail: `${detail}: ${cause instanceof Error ? cause.message : String(cause)}`,
    cause
  })

/** A holder that shows no life for so long is gone. */
const STALE_MILLIS = 60_000

/** Waits until nobody else makes the environment, and keeps others waiting until the scope closes. */
const exclusively = (file: string): Effect.Effect<void, EnvironmentError, Scope.Scope> => {
  const take = Effect.tryPromise({
    try: async () => {
      const made = await open(file, "wx").catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === "EEXIST") return undefined
        throw cause
      })
      if (made !== undefined) {
        await made.close()
        return true
      }
      const age = await stat(file).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        () => 0
      )
      // Renamed, as two who find it stale must not both remove it: the second would remove the first one's.
      if (age > STALE_MILLIS) {
        const gone = `${file}.${process.pid}.stale`
        await rename(file, gone).catch(() => undefined)
        await rm(gone, { force: true })
      }
      return false
    },
    catch: failed("Failed", `${file} cannot be made`)
  })
  return Effect.acquireRelease(
    Effect.gen(function* () {
      while (!(yield* take)) yield* Effect.sleep("500 millis")
    }).pipe(Effect.interruptible),
    () => Effect.promise(() => rm(file, { force: true }))
  ).pipe(
    Effect.zipRight(
      Effect.promise(() => utimes(file, new Date(), new Date()).catch(() => undefined)).pipe(
        Effect.delay("10 seconds"),
        Effect.forever,
        Effect.forkScoped
      )
    ),
    Effect.asVoid
  )
}

/** What pip's complaint means. */
const pipFailure = (words: string): EnvironmentError => {
  const about = (reason: EnvironmentError["reason"], detail: string) =>
    new EnvironmentError({ reason, detail: `${detail}; pip's last words:\n${words}` })
  if (/No space left on device|ENOSPC/i.test(words))
    return about("NoSpace", "the disk is full; free some space and run it again, what was fetched is kept")
  if (
    /NewConnectionError|Temporary failure in name resolution|Connection refused|timed out|ConnectTimeout|Network is unreachable|Max retries exceeded/i.test(
      words
    )
  )
    return about(
      "NoNetwork",
      "packages cannot be fetched; check the network and pip's index, and run it again"
    )
  if (/No matching distribution|not a supported wheel/i.test(words))
    return about("Unsupported", "a package has no build for this system and Python")
  return about("Failed", "pip failed")
}

/** Runs a program to its end, showing each line of its output. Ended with the scope. */
const program = (
  path: string,
  args: ReadonlyArray<string>,
  onLine: (line: string) => void = () => undefined
): Effect.Effect<{ readonly code: number | null; readonly words: string }, EnvironmentError> =>
  Effect.gen(function* () {
    const child = yield* ChildProcess.start({
      program: path,
      args,
      env: ChildProcess.cleanEnvironment(),
      grace: "5 seconds",
      onLine
    })
    const { code } = yield* Effect.mapError(child.ended, failed("Failed", `${path} cannot be started`))
    return { code, words: yield* child.lastWords }
  }).pipe(Effect.scoped)

const checkSpace = (folder: string, bytes: number): Effect.Effect<void, EnvironmentError> =>
  Effect.tryPromise({
    try: () => statfs(folder),
    catch: failed("Failed", `${folder} cannot be looked at`)
  }).pipe(
    Effect.flatMap(({ bavail, bsize }) =>
      bavail * bsize >= bytes
        ? Effect.void
        : new EnvironmentError({
            reason: "NoSpace",
            detail: `the environment takes up to ${Math.ceil(bytes / 1e9)} GB in ${folder}, where ${(
              (bavail * bsize) /
              1e9
            ).toFixed(1)} GB are free; free some, or set XDG_CACHE_HOME to a larger disk`
          })
    )
  )

const exists = (path: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    stat(path).then(
      () => true,
      () => false
    )
  )

/** Requirements of a lock, those of other systems included. */
const count = (lock: URL): Effect.Effect<number> =>
  Effect.promise(async () => (await readFile(fileURLToPath(lock), "utf8")).match(/^\S+==/gm)?.length ?? 0)

/** The interpreter of the lock's environment; makes the environment first where there is none. */
export const makeEnvironment = (
  wanted: Wanted,
  base: BasePython,
  report: (progress: Progress) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<string, EnvironmentError> =>
  Effect.gen(function* () {
    const target = yield* environmentPath(wanted, base)
    if (yield* exists(target)) return interpreterIn(target)
    yield* Effect.tryPromise({
      try: () => mkdir(environmentsFolder(), { recursive: true }),
      catch: failed(
        "Failed",
        `${environmentsFolder()} cannot be made; set XDG_CACHE_HOME to a folder of yours`
      )
    })
    yield* exclusively(`${target}.making`)
    if (yield* exists(target)) return interpreterIn(target)
    yield* checkSpace(environmentsFolder(), wanted.bytes ?? 0)

    // Kept when interrupted: pip goes on with what is missing.
    const draft = `${target}.draft`
    const venv = yield* program(base.program, ["-m", "venv", draft])
    if (venv.code !== 0)
      return yield* new EnvironmentError({ reason: "Failed", detail: `python -m venv failed: ${venv.words}` })
    const python = interpreterIn(draft)
    const total = yield* count(wanted.lock)
    const show = yield* Effect.runtime()
    let done = 0
    const pip = yield* program(
      python,
      // A lock is complete; it may leave out what is never loaded.
      [
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--no-compile",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        fileURLToPath(wanted.lock)
      ],
      (line) => {
        const [, found] = /^(?:Collecting|Processing|Requirement already satisfied:) (\S+)/.exec(line) ?? []
        const label = found === undefined ? undefined : basename(found)
        if (label !== undefined)
          Runtime.runFork(show)(report({ done: ++done, total, unit: "packages", label }))
        if (line.startsWith("Installing"))
          Runtime.runFork(show)(report({ done: total, total, unit: "packages", label: "installing" }))
      }
    )
    if (pip.code !== 0) return yield* pipFailure(pip.words)
    const imported = yield* program(python, ["-c", `import ${wanted.modules.join(", ")}`])
    if (imported.code !== 0) {
      // What is half there would not get better.
      yield* Effect.promise(() => rm(draft, { recursive: true, force: true }))
      return yield* new EnvironmentError({
        reason: "Failed",
        detail: `the packages were installed and cannot be imported; run it again to begin anew: ${imported.words}`
      })
    }
    yield* Effect.tryPromise({
      try: () => rename(draft, target),
      catch: failed("Failed", `${draft} cannot become ${target}`)
    })
    return interpreterIn(target)
  }).pipe(Effect.scoped)
