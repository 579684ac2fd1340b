/**
 * The HTTP cache protocol of Bazel: GET, HEAD and PUT of `/ac/<hex>` (records) and `/cas/<hex>` (blobs).
 */
import { createReadStream } from "node:fs"
import { HttpBody, HttpClient, HttpClientRequest, type HttpClientResponse } from "@effect/platform"
import { Chunk, Data, Duration, Effect, Option, Redacted, Schedule, Stream } from "effect"

/** The remote did not do what it was asked. */
export class RemoteError extends Data.TaggedError("RemoteError")<{
  readonly reason: "Unreachable" | "Silent" | "Refused" | "Broken" | "NotWritten" | "TooLarge"
  /** What was wrong and what to do. */
  readonly detail: string
  /** HTTP. */
  readonly status?: number
  readonly cause?: unknown
}> {
  override get message() {
    return this.detail
  }
}

export interface Options {
  /** `http` or `https`, without a user and a password. */
  readonly url: URL
  readonly headers: Readonly<Record<string, Redacted.Redacted>>
  /** How long nothing may happen before the remote counts as silent. */
  readonly timeout: Duration.Duration
}

type Kind = "ac" | "cas"

export interface Protocol {
  /** The size of what is there, where the remote tells it; none where nothing is there. */
  readonly head: (
    kind: Kind,
    hex: string
  ) => Effect.Effect<Option.Option<{ readonly size: number | undefined }>, RemoteError>
  readonly get: (kind: Kind, hex: string) => Effect.Effect<Option.Option<Uint8Array>, RemoteError>
  /** Hands the body to `use`; false where nothing is there. Not tried again: what `use` did is its own to undo. */
  readonly read: <E, R>(
    kind: Kind,
    hex: string,
    use: (body: Stream.Stream<Uint8Array, RemoteError>) => Effect.Effect<void, E, R>
  ) => Effect.Effect<boolean, RemoteError | E, R>
  readonly putBytes: (kind: Kind, hex: string, bytes: Uint8Array) => Effect.Effect<void, RemoteError>
  readonly putFile: (kind: Kind, hex: string, path: string, size: number) => Effect.Effect<void, RemoteError>
}

/** Records are small; what is larger is none. */
const RECORD_LIMIT = 64 << 20
const CHUNK = 1 << 18

/** Three tries within a second: what takes longer than that is the circuit's to handle. */
const tries = Schedule.exponential("100 millis", 3).pipe(
  Schedule.jittered,
  Schedule.intersect(Schedule.recurs(2))
)

/** Again, where that may help. */
export const patiently = <A, E, R>(
  effect: Effect.Effect<A, E | RemoteError, R>
): Effect.Effect<A, E | RemoteError, R> =>
  Effect.retry(effect, {
    schedule: tries,
    while: (error) =>
      error instanceof RemoteError &&
      (error.reason === "Unreachable" || error.status === 429 || (error.status ?? 0) >= 500)
  })

const readRefusal = (status: number): RemoteError => {
  const wrong = (reason: "Refused" | "Broken", detail: string) =>
    new RemoteError({ reason, detail: `answers ${status}: ${detail}`, status })
  if (status === 401 || status === 403 || status === 407)
    return wrong("Refused", "this user may not read; check the credentials (TESSERA_REMOTE_HEADER)")
  if (status >= 500 || status === 429) return wrong("Broken", "it has trouble; see its log")
  return wrong("Broken", "it is no cache that can be read; check the address")
}

const writeRefusal = (status: number): RemoteError => {
  const wrong = (detail: string, reason: "NotWritten" | "TooLarge" = "NotWritten") =>
    new RemoteError({ reason, detail: `answers ${status} to an upload: ${detail}`, status })
  const orRead = "or read only (TESSERA_REMOTE_MODE=read)"
  switch (status) {
    case 401:
    case 403:
    case 407:
      return wrong(`this user may not write; check the credentials (TESSERA_REMOTE_HEADER), ${orRead}`)
    case 404:
    case 405:
    case 409:
    case 501:
      return wrong(
        `it takes no uploads there; check the address, let it take them (nginx: dav_methods PUT; create_full_put_path on;), ${orRead}`
      )
    case 413:
      return wrong(
        "the blob is larger than it takes; raise its limit (nginx: client_max_body_size 0;)",
        "TooLarge"
      )
    case 507:
      return wrong("its disk is full; make room there")
    default:
      return wrong(
        status >= 500 || status === 429 ? "it has trouble; see its log" : `check the address, ${orRead}`
      )
  }
}

const transport = (cause: unknown): RemoteError => {
  let inner: unknown = cause
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause
  const what = inner instanceof Error ? inner.message || inner.name : String(inner)
  return new RemoteError({
    reason: "Unreachable",
    detail: `cannot be reached (${what}); check the address and the network`,
    cause
  })
}

export const make = ({
  url,
  headers,
  timeout
}: Options): Effect.Effect<Protocol, never, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = HttpClient.withTracerPropagation(yield* HttpClient.HttpClient, false)
    const base = url.href.replace(/\/+$/, "")
    const request = (method: "GET" | "HEAD" | "PUT", kind: Kind, hex: string) =>
      HttpClientRequest.make(method)(`${base}/${kind}/${hex}`).pipe(
        HttpClientRequest.setHeaders(
          Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Redacted.value(value)]))
        )
      )

    /** Fails where nothing happens for too long; `alive` says that something did. */
    const watched = <A, E, R>(
      work: (alive: Effect.Effect<void>) => Effect.Effect<A, E, R>
    ): Effect.Effect<A, E | RemoteError, R> =>
      Effect.suspend(() => {
        const limit = Duration.toMillis(timeout)
        let last = performance.now()
        const watch: Effect.Effect<never, RemoteError> = Effect.suspend(() => {
          const left = last + limit - performance.now()
          return left > 0
            ? Effect.zipRight(Effect.sleep(Duration.millis(left)), watch)
            : new RemoteError({
                reason: "Silent",
                detail: `has been silent for ${Duration.format(timeout)}; check the server and the network`
              })
        })
        return Effect.raceFirst(work(Effect.sync(() => void (last = performance.now()))), watch)
      })

    const body = (response: HttpClientResponse.HttpClientResponse, alive: Effect.Effect<void>) =>
      response.stream.pipe(
        Stream.tap(() => alive),
        Stream.mapError(transport)
      )
    /** A connection is used again only when its answer was read. */
    const drain = (response: HttpClientResponse.HttpClientResponse, alive: Effect.Effect<void>) =>
      Effect.ignore(Stream.runDrain(body(response, alive)))

    const ask = <A, E, R>(
      method: "GET" | "HEAD",
      kind: Kind,
      hex: string,
      use: (
        response: HttpClientResponse.HttpClientResponse,
        body: Stream.Stream<Uint8Array, RemoteError>
      ) => Effect.Effect<A, E, R>
    ): Effect.Effect<Option.Option<A>, E | RemoteError, R> =>
      watched((alive) =>
        Effect.flatMap(
          Effect.mapError(client.execute(request(method, kind, hex)), transport),
          (response): Effect.Effect<Option.Option<A>, E | RemoteError, R> => {
            if (response.status === 200) return Effect.asSome(use(response, body(response, alive)))
            return Effect.zipRight(
              drain(response, alive),
              response.status === 404 || response.status === 204 || response.status === 410
                ? Effect.succeedNone
                : readRefusal(response.status)
            )
          }
        )
      ).pipe(Effect.scoped)

    const put = (kind: Kind, hex: string, content: (alive: Effect.Effect<void>) => HttpBody.HttpBody) =>
      watched((alive) =>
        Effect.gen(function* () {
          const sent = HttpClientRequest.setBody(request("PUT", kind, hex), content(alive))
          const response = yield* Effect.mapError(client.execute(sent), transport)
          yield* drain(response, alive)
          if (response.status < 200 || response.status >= 300) return yield* writeRefusal(response.status)
        })
      ).pipe(patiently)

    return {
      head: (kind, hex) =>
        ask("HEAD", kind, hex, (response, body) => {
          const size = response.headers["content-length"]
          return Effect.as(Effect.ignore(Stream.runDrain(body)), {
            size: size === undefined ? undefined : Number(size)
          })
        }).pipe(patiently),
      get: (kind, hex) =>
        ask("GET", kind, hex, (_, body) => {
          let size = 0
          return body.pipe(
            Stream.tap((part) =>
              (size += part.byteLength) > RECORD_LIMIT
                ? new RemoteError({
                    reason: "Broken",
                    detail: `sends a ${kind} entry without end; check the address`
                  })
                : Effect.void
            ),
            Stream.runCollect,
            Effect.map((parts) => new Uint8Array(Buffer.concat(Chunk.toReadonlyArray(parts))))
          )
        }).pipe(patiently),
      read: (kind, hex, use) =>
        Effect.map(
          ask("GET", kind, hex, (_, body) => use(body)),
          Option.isSome
        ),
      putBytes: (kind, hex, bytes) =>
        put(kind, hex, () => HttpBody.uint8Array(bytes, "application/octet-stream")),
      putFile: (kind, hex, path, size) =>
        put(kind, hex, (alive) =>
          size === 0
            ? HttpBody.uint8Array(new Uint8Array(0), "application/octet-stream")
            : HttpBody.stream(
                // Opened when it is read: a request that finds no server leaves no open file.
                Stream.suspend(() =>
                  Stream.fromAsyncIterable<Uint8Array, RemoteError>(
                    createReadStream(path, { highWaterMark: CHUNK }),
                    transport
                  )
                ).pipe(Stream.tap(() => alive)),
                "application/octet-stream",
                size
              )
        )
    }
  })
