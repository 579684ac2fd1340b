/**
 * Shows a run on stderr: a region redrawn in place on a terminal, plain lines elsewhere.
 */
import type { RunEvent } from "@tessera/engine"
import { Clock, Effect, Schedule, type Scope } from "effect"
import * as Format from "./Format.js"
import * as Progress from "./Progress.js"
import type { Style } from "./Style.js"

/** Where lines go. */
export interface Screen {
  readonly live: boolean
  readonly columns: () => number
  readonly rows: () => number
  readonly write: (text: string) => void
  readonly style: Style
}

export interface ProgressView {
  readonly onEvent: (event: RunEvent) => Effect.Effect<void>
  /** A line that stays, above the region. */
  readonly print: (line: string) => Effect.Effect<void>
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
const barWidth = 16

const bar = (share: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * barWidth)
  return "█".repeat(full) + "░".repeat(barWidth - full)
}

const count = (value: number) => (Number.isInteger(value) ? String(value) : Format.number(value))

/** Two digits: the third flickers. */
const rateText = (rate: number) => String(rate >= 10 ? Math.round(rate) : Number(rate.toPrecision(2)))

/** `3/8 items · a label · 1.3 items/s · 4 s left` */
export const measureText = ({ done, total, unit, label, rate, left }: Progress.Measure): string =>
  [
    `${count(done)}${total === undefined ? "" : `/${count(total)}`} ${unit}`,
    label,
    rate === undefined ? undefined : `${rateText(rate)} ${unit}/s`,
    left === undefined ? undefined : `${Format.duration(left)} left`
  ]
    .filter((text) => text !== undefined)
    .join(" · ")

const tasks = (node: Progress.NodeProgress): string => {
  if (node.shards === undefined) return node.executed > 0 ? Format.duration(node.millis) : "cached"
  if (node.executed === 0) return `${node.shards} shards, cached`
  return `${node.shards} shards, ${node.cached} cached, ${node.executed} in ${Format.duration(node.millis)}`
}

/** The line that stays when a node is done. */
export const doneLine = (node: Progress.NodeProgress, width: number, style: Style): string =>
  `${node.executed === 0 ? style.dim("=") : style.good("✓")} ${node.node.padEnd(width)}  ${style.dim(tasks(node))}`

/** The region: one line per running node, then the totals. Lines are no wider and no more than the screen. */
export const region = (
  state: Progress.RunProgress,
  now: number,
  since: number,
  screen: Pick<Screen, "columns" | "rows" | "style">
): ReadonlyArray<string> => {
  const running = [...state.nodes.values()].filter(({ status }) => status === "running")
  const width = Math.max(0, ...running.map(({ node }) => node.length))
  const frame = frames[Math.floor(now / 100) % frames.length] ?? ""
  const shown = running.slice(0, Math.max(1, Math.min(12, screen.rows() - 3)))
  const lines = shown.map((node) => {
    const measure = Progress.measure(node, now)
    const elapsed = Format.duration(now - (node.since ?? now))
    const share =
      measure?.total === undefined || measure.total === 0 ? undefined : measure.done / measure.total
    return [
      `${frame} ${node.node.padEnd(width)}`,
      ...(share === undefined ? [] : [bar(share)]),
      measure === undefined ? elapsed : measureText(measure)
    ].join("  ")
  })
  const { nodes, done, executed, cached } = Progress.totals(state)
  const more = running.length > shown.length ? `${running.length - shown.length} more running · ` : ""
  const total = `  ${more}${done}/${nodes} stages · ${cached} cached · ${executed} executed · ${Format.duration(now - since)}`
  const columns = Math.max(20, screen.columns())
  const clip = (line: string) => (line.length >= columns ? `${line.slice(0, columns - 2)}…` : line)
  return [...lines.map(clip), screen.style.dim(clip(total))]
}

const everyLine = 10_000

const place = ({ node, shard }: { readonly node: string; readonly shard?: string | undefined }) =>
  shard === undefined ? node : `${node} (shard ${shard})`

/** Draws until the scope closes; leaves the lines that stay. */
export const make = (screen: Screen): Effect.Effect<ProgressView, never, Scope.Scope> =>
  Effect.gen(function* () {
    const since = yield* Clock.currentTimeMillis
    let state = Progress.empty
    let drawn = 0
    const told = new Map<string, number>()
    const { style } = screen

    const erase = () => (drawn === 0 ? "" : `\u001b[${drawn}A\u001b[J`)
    const draw = (now: number, above: ReadonlyArray<string> = []) => {
      const below = screen.live && state.nodes.size > 0 ? region(state, now, since, screen) : []
      const text = [...above, ...below].map((line) => `${line}\n`).join("")
      if (text !== "" || drawn > 0) screen.write(erase() + text)
      drawn = below.length
    }

    const lines = (event: RunEvent, before: Progress.RunProgress, now: number): ReadonlyArray<string> => {
      const width = Math.max(0, ...[...state.nodes.keys()].map((name) => name.length))
      if (event._tag === "Warning") {
        return [`${style.warn("!")} ${event.node === undefined ? "" : `${event.node}: `}${event.detail}`]
      }
      if (!("node" in event) || event.node === undefined) return []
      const node = state.nodes.get(event.node)
      if (node === undefined) return []
      if (event._tag === "TaskFailed") return [`${style.bad("✗")} ${place(event)}`]
      if (event._tag === "TaskRetried") {
        const pause = Format.duration(event.pauseMillis)
        return [
          `${style.warn("!")} ${place(event)}: ${event.error}; attempt ${event.attempt + 1} in ${pause}`
        ]
      }
      if (event._tag === "NodeSkipped")
        return [
          `${style.warn("!")} ${node.node}: left out, all or in part, for want of ${event.because.join(", ")}`
        ]
      if (node.status === "done" && before.nodes.get(event.node)?.status !== "done")
        return [doneLine(node, width, style)]
      if (screen.live) return []
      if (event._tag === "TaskStarted" && !told.has(node.node)) {
        told.set(node.node, now)
        return [`> ${node.node.padEnd(width)}  ${event.reason}`]
      }
      const last = told.get(node.node)
      const measure = Progress.measure(node, now)
      if (measure === undefined || last === undefined || now - last < everyLine) return []
      told.set(node.node, now)
      return [`  ${node.node.padEnd(width)}  ${measureText(measure)}`]
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (drawn > 0) screen.write(erase())
        drawn = 0
      })
    )
    if (screen.live) {
      yield* Clock.currentTimeMillis.pipe(
        Effect.map((now) => draw(now)),
        Effect.repeat(Schedule.spaced("100 millis")),
        Effect.forkScoped
      )
    }
    return {
      onEvent: (event) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const before = state
          state = Progress.step(before, event, now)
          const above = lines(event, before, now)
          if (above.length > 0) draw(now, above)
        }),
      print: (line) => Effect.map(Clock.currentTimeMillis, (now) => draw(now, [line]))
    }
  })
