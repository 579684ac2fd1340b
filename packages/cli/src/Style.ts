/**
 * Colours, where the stream is a terminal and the user has not said NO_COLOR, or has said FORCE_COLOR.
 */
import { styleText } from "node:util"

export interface Style {
  readonly good: (text: string) => string
  readonly bad: (text: string) => string
  readonly warn: (text: string) => string
  readonly dim: (text: string) => string
  readonly bold: (text: string) => string
}

const plain = (text: string) => text

export const none: Style = { good: plain, bad: plain, warn: plain, dim: plain, bold: plain }

const coloured: Style = {
  good: (text) => styleText("green", text),
  bad: (text) => styleText("red", text),
  warn: (text) => styleText("yellow", text),
  dim: (text) => styleText("dim", text),
  bold: (text) => styleText("bold", text)
}

const says = (variable: string): boolean => (process.env[variable] ?? "") !== ""

export const of = (stream: NodeJS.WriteStream): Style =>
  !says("NO_COLOR") && (says("FORCE_COLOR") || (stream.isTTY && process.env["TERM"] !== "dumb"))
    ? coloured
    : none
