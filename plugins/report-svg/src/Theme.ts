/**
 * How pictures look: colours that people who are colour-blind tell apart, on light and on dark pages.
 */
import type { Config } from "vega-lite"

/** A colour on a light page, and what stands for it on a dark one. */
const shades = {
  paper: { light: "#ffffff", dark: "#0d1117" },
  ink: { light: "#1f2328", dark: "#e6edf3" },
  muted: { light: "#59636e", dark: "#9198a1" },
  line: { light: "#d1d9e0", dark: "#30363d" }
} as const

/** What is drawn in: names of shades, and of Okabe and Ito's palette. */
export const colours = {
  paper: shades.paper.light,
  ink: shades.ink.light,
  muted: shades.muted.light,
  line: shades.line.light,
  blue: "#0072b2",
  orange: "#e69f00",
  vermilion: "#d55e00"
} as const

export const font = "Helvetica, Arial, sans-serif"

/** Viewers that know nothing of style sheets show the light page. */
export const darkStyle: string = `<style>@media (prefers-color-scheme: dark) {${Object.values(shades)
  .flatMap(({ dark, light }) =>
    (["fill", "stroke"] as const).map((property) => `[${property}="${light}"]{${property}:${dark}}`)
  )
  .join("")}}</style>`

const { ink, line, muted, paper } = colours

export const config: Config = {
  background: paper,
  padding: 16,
  font,
  view: { stroke: line },
  title: {
    color: ink,
    subtitleColor: muted,
    fontSize: 13,
    subtitleFontSize: 11,
    fontWeight: "bold",
    anchor: "start",
    offset: 8
  },
  axis: {
    labelColor: muted,
    titleColor: ink,
    titleFontWeight: "normal",
    labelFontSize: 10,
    titleFontSize: 11,
    domainColor: line,
    gridColor: line,
    tickColor: line
  },
  legend: {
    labelColor: ink,
    titleColor: ink,
    titleFontWeight: "normal",
    labelFontSize: 11,
    titleFontSize: 11,
    symbolSize: 90
  }
}
