/**
 * Facts of the processor that results depend on.
 */
import { readFileSync } from "node:fs"
import { arch, cpus } from "node:os"

/** What decides which kernels a library chooses: sums differ in their last bits between instruction sets. */
export const instructionSet = (): string => {
  try {
    const flags = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.split(" ") ?? []
    const known = ["amx_tile", "avx512_vnni", "avx512f", "avx2", "avx"].filter((flag) => flags.includes(flag))
    if (known.length > 0) return `${arch()} ${known.join(" ")}`
  } catch {
    // Not Linux: the processor's name has to do.
  }
  return `${arch()} ${cpus()[0]?.model ?? "unknown"}`
}
