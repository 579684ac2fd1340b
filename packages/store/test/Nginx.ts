/** A real nginx with WebDAV, as a remote store for tests. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import { connect, createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"

/** Why there is no nginx to test with; undefined where there is one. */
export const missing: string | undefined = (() => {
  try {
    // Its description goes to stderr.
    const text = execFileSync("sh", ["-c", "nginx -V 2>&1"], {
      encoding: "utf8",
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` }
    })
    return text.includes("http_dav_module") ? undefined : "this nginx has no WebDAV (http_dav_module)"
  } catch {
    return "nginx is not installed"
  }
})()

export interface Nginx {
  readonly url: string
  /** The folder that it serves. */
  readonly data: string
  /** Where it keeps an upload that has not ended. */
  readonly partial: string
  readonly file: (kind: "ac" | "cas", digest: string) => string
  readonly files: (kind: "ac" | "cas") => ReadonlyArray<string>
  /** The requests so far, such as `GET /cas/… 200`. */
  readonly requests: () => ReadonlyArray<string>
  readonly forget: () => void
  readonly stop: (signal?: NodeJS.Signals) => Promise<void>
  readonly start: (options?: Options) => Promise<void>
  /** Stops it and removes its folder. */
  readonly close: () => Promise<void>
}

export interface Options {
  /** Refuses uploads. */
  readonly readOnly?: boolean
  /** More of its configuration, for the server. */
  readonly extra?: string
}

/** A port that was free a moment ago. */
export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false))
    socket.on("connect", () => socket.destroy())
  })

const configuration = (prefix: string, port: number, { readOnly = false, extra = "" }: Options) => `
${process.getuid?.() === 0 ? "user nobody nogroup;" : ""}
worker_processes 1;
daemon off;
pid ${prefix}/pid;
error_log ${prefix}/error.log;
events {}
http {
  log_format short '$request_method $uri $status';
  access_log ${prefix}/access.log short;
  client_body_temp_path ${prefix}/body;
  proxy_temp_path ${prefix}/proxy;
  fastcgi_temp_path ${prefix}/fastcgi;
  uwsgi_temp_path ${prefix}/uwsgi;
  scgi_temp_path ${prefix}/scgi;
  client_max_body_size 0;
  server {
    listen 127.0.0.1:${port};
    root ${prefix}/data;
    ${extra}
    location / {
      dav_methods PUT;
      create_full_put_path on;
      ${readOnly ? "limit_except GET HEAD { deny all; }" : ""}
    }
  }
}
`

export const nginx = async (initial: Options = {}): Promise<Nginx> => {
  const prefix = fs.mkdtempSync(join(tmpdir(), "nginx-"))
  const data = join(prefix, "data")
  for (const name of ["data", "body"]) fs.mkdirSync(join(prefix, name))
  fs.chmodSync(prefix, 0o755)
  // Its workers are nobody.
  if (process.getuid?.() === 0) execFileSync("chown", ["-R", "nobody:nogroup", prefix])
  const port = await freePort()
  let child: ChildProcess | undefined

  const start = async (options: Options = initial) => {
    fs.writeFileSync(join(prefix, "conf"), configuration(prefix, port, options))
    if (child !== undefined) return
    const started = spawn(
      "nginx",
      ["-p", prefix, "-c", join(prefix, "conf"), "-e", join(prefix, "error.log")],
      {
        stdio: "ignore",
        // With its workers in a group of their own: those of a killed master live on.
        detached: true,
        env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` }
      }
    )
    child = started
    while (!(await accepts(port))) {
      if (started.exitCode !== null)
        throw new Error(`nginx ended: ${fs.readFileSync(join(prefix, "error.log"), "utf8")}`)
      await setTimeout(10)
    }
  }
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    const stopping = child
    child = undefined
    if (stopping === undefined || stopping.exitCode !== null) return
    const ended = once(stopping, "exit")
    process.kill(-(stopping.pid ?? 0), signal)
    await ended
  }
  const log = join(prefix, "access.log")
  await start()
  return {
    url: `http://127.0.0.1:${port}/tessera`,
    data,
    partial: join(prefix, "body"),
    file: (kind, digest) => join(data, "tessera", kind, digest.replace("sha256:", "")),
    files: (kind) => {
      const folder = join(data, "tessera", kind)
      return fs.existsSync(folder) ? fs.readdirSync(folder) : []
    },
    requests: () => fs.readFileSync(log, "utf8").trim().split("\n").filter(Boolean),
    forget: () => fs.truncateSync(log),
    stop,
    start,
    close: async () => {
      await stop()
      fs.rmSync(prefix, { recursive: true, force: true })
    }
  }
}
