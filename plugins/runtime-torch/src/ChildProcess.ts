/**
 * A child process that leads a group of its own, and ends with its scope: what it started goes with it.
 */
import { type ChildProcess as NodeChild, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { Deferred, type Duration, Effect, Exit, Fiber, type Option, type Scope } from "effect"

/** Lines of its standard error that are kept. */
const TAIL = 20

export interface Command {
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly cwd?: string
  /** All of the child's variables. */
  readonly env: Readonly<Record<string, string>>
  /** Between asking it to end and killing it. */
  readonly grace: Duration.DurationInput
  readonly onLine: (line: string) => void
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ChildProcess {
  /** Undefined where it could not be started. */
  readonly pid: number | undefined
  /** Fails where the program could not be started. */
  readonly ended: Effect.Effect<Ended, Error>
  /** Asks the group to end, and kills it where it does not. */
  readonly end: Effect.Effect<void>
  readonly write: (line: string) => Effect.Effect<void>
  /** The last lines of its standard error. */
  readonly lastWords: Effect.Effect<string>
}

const signalGroup = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(-pid, signal)
  } catch {
    // All of them have ended.
  }
}

/** Waits for it so long at most: also where a fiber is ending, and nothing of it can be interrupted any more. */
export const atMost = <A, E>(
  effect: Effect.Effect<A, E>,
  duration: Duration.DurationInput
): Effect.Effect<Option.Option<A>, E> =>
  Effect.flatMap(Effect.forkDaemon(Effect.interruptible(Effect.timeoutOption(effect, duration))), Fiber.join)

/** What a program needs to start and to find its files; nothing that a shell happened to have. */
const PASSED =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|VIRTUAL_ENV|XDG_CACHE_HOME|CUDA_(HOME|PATH|DEVICE_ORDER|VISIBLE_DEVICES)|NVIDIA_.*|TRITON_CACHE_DIR|SSL_CERT_(FILE|DIR)|(HTTPS?|NO|ALL)_PROXY|PIP_.*)$/i

/** The variables of this process that a child gets. */
export const cleanEnvironment = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      PASSED.test(name) && value !== undefined ? [[name, value]] : []
    )
  )

export const start = ({
  program,
  args,
  cwd,
  env,
  grace,
  onLine
}: Command): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const ended = yield* Deferred.make<Ended, Error>()
    const settle = (exit: Exit.Exit<Ended, Error>) => Deferred.unsafeDone(ended, exit)
    const end = ({ pid, exitCode, signalCode }: NodeChild) =>
      Effect.gen(function* () {
        if (pid === undefined) return
        if (exitCode === null && signalCode === null) {
          signalGroup(pid, "SIGTERM")
          yield* atMost(Effect.exit(Deferred.await(ended)), grace)
        }
        // Also what a child that ended well left running.
        signalGroup(pid, "SIGKILL")
        yield* Effect.exit(Deferred.await(ended))
      })
    const lines: Array<string> = []
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(program, args, {
          detached: true,
          env,
          stdio: ["pipe", "pipe", "pipe"],
          ...(cwd === undefined ? {} : { cwd })
        })
        createInterface({ input: child.stderr }).on("line", (line) => {
          lines.push(line)
          if (lines.length > TAIL) lines.shift()
        })
        createInterface({ input: child.stdout }).on("line", onLine)
        child.stdin.on("error", () => undefined)
        child.on("error", (cause) => settle(Exit.fail(cause)))
        child.on("close", (code, signal) => settle(Exit.succeed({ code, signal })))
        return child
      }),
      (child) => end(child)
    )
    return {
      pid: child.pid,
      ended: Deferred.await(ended),
      end: end(child),
      write: (line) =>
        Effect.sync(() => {
          if (child.stdin.writable) child.stdin.write(`${line}\n`)
        }),
      lastWords: Effect.sync(() => lines.join("\n"))
    }
  })
