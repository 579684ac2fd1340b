/**
 * Which process made a file, told by the file's name, and whether that process still runs.
 */
import { createHash, randomBytes } from "node:crypto"
import { readFileSync, readlinkSync } from "node:fs"
import { hostname, networkInterfaces } from "node:os"

/**
 * What became of the process that made a file.
 *
 * - `alive`, `dead`: it is a process of this machine, and was looked up.
 * - `stopped`: it is there but does not run (SIGSTOP, a debugger).
 * - `unknown`: it belongs to another machine or another process namespace, or the system does not tell.
 */
export type Fate = "alive" | "dead" | "stopped" | "unknown"

const quiet = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}

interface Proc {
  readonly state: string
  /** Ticks between the boot and the start of the process. */
  readonly start: number
}

const proc = (pid: number): Proc | undefined =>
  quiet(() => {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The second field is the program's name, which may hold spaces and parentheses.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
    return { state: fields[0] ?? "", start: Number(fields[19]) }
  })

/** Where process ids mean the same: one boot of one machine, seen from one process namespace. */
const findPlace = (): string => {
  const boot = quiet(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8"))
  const namespaces = ["pid", "time"].map((kind) => quiet(() => readlinkSync(`/proc/self/ns/${kind}`)) ?? "")
  // A /proc of other processes than ours, or none on Linux: ours mean nothing to anybody.
  const ours = quiet(() => readlinkSync("/proc/self")) === String(process.pid)
  const facts =
    boot !== undefined && ours
      ? [boot, ...namespaces]
      : process.platform === "linux"
        ? [randomBytes(16).toString("hex")]
        : [
            hostname(),
            ...Object.values(networkInterfaces())
              .flatMap((all) => all ?? [])
              .map(({ mac }) => mac)
              .toSorted()
          ]
  return createHash("sha256").update(facts.join("\n")).digest("hex").slice(0, 10)
}

let self: { readonly place: string; readonly prefix: string } | undefined
const me = () => {
  if (self === undefined) {
    const place = findPlace()
    self = { place, prefix: `${process.pid}-${(proc(process.pid)?.start ?? 0).toString(36)}-${place}` }
  }
  return self
}

/** A name that no other writer of this store uses; it tells who made it. */
export const uniqueName = (): string => `${me().prefix}-${randomBytes(8).toString("hex")}`

const NAME = /^(\d+)-([0-9a-z]+)-([0-9a-f]{10})-[0-9a-f]{16}/

/** The process id in a name, if it is such a name. */
export const pidOf = (name: string): number | undefined => {
  const pid = NAME.exec(name)?.[1]
  return pid === undefined ? undefined : Number(pid)
}

/** What became of the process that made this name. */
export const fate = (name: string): Fate => {
  const [, pid = "", start = "", place] = NAME.exec(name) ?? []
  if (place !== me().place) return "unknown"
  try {
    process.kill(Number(pid), 0)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ESRCH") return "dead"
  }
  const now = proc(Number(pid))
  // Without a start time the id alone does not tell a process from a later one of the same id.
  if (start === "0" || now === undefined) return "unknown"
  if (now.start !== Number.parseInt(start, 36) || now.state === "Z" || now.state === "X") return "dead"
  return now.state === "T" || now.state === "t" ? "stopped" : "alive"
}
