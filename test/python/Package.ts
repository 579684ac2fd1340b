/** Emitted Python packages on disk, and Python run in them. */
import { execFile } from "node:child_process"
import { mkdir, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"

/** Writes the files of a package into a folder. */
export const writePackage = async (
  folder: string,
  files: Readonly<Record<string, string>>
): Promise<string> => {
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), text)
  }
  return folder
}

/**
 * Standard output; a failing program's whole output is the error's message.
 *
 * @param bytecode where Python keeps what it compiles, outside the package
 */
export const runPython = (
  python: string,
  bytecode: string,
  cwd: string,
  ...args: ReadonlyArray<string>
): Promise<string> =>
  promisify(execFile)(python, args, {
    cwd,
    maxBuffer: 1 << 26,
    env: { ...process.env, PYTHONPYCACHEPREFIX: bytecode }
  }).then(
    ({ stdout }) => stdout,
    ({ stdout, stderr, message }: { stdout?: string; stderr?: string; message: string }) =>
      Promise.reject(new Error(`${message}\n${stdout ?? ""}\n${stderr ?? ""}`))
  )
