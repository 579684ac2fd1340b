/**
 * Colours, where the stream is a terminal and the user has not said NO_COLOR.
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

export const of = (stream: NodeJS.WriteStream): Style =>
  stream.isTTY && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb" ? coloured : none
