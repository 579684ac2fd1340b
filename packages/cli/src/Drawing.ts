/**
 * The graph of a pipeline as Mermaid text and as Graphviz text.
 */
import type { Overview, OverviewEdge } from "@tessera/engine"

/** What flows along an edge, and how it is split. */
const label = (overview: Overview, { from, view, by }: OverviewEdge): string => {
  const type = overview.nodes
    .find(({ name }) => name === from.node)
    ?.outputs.find(({ name }) => name === from.port)?.type
  const how =
    view === "whole" ? "" : view === "shard" ? ` by ${by}` : view === "shards" ? " per shard" : " gathered"
  return `${type ?? from.port}${how}`
}

const isSource = (overview: Overview, name: string) =>
  overview.nodes.some((node) => node.name === name && node.inputs.length === 0)

interface Ids {
  readonly node: (name: string) => string
  readonly target: (name: string) => string
}

/** Names may hold anything, ids may not. */
const ids = ({ nodes, targets }: Overview): Ids => ({
  node: (name) => `n${nodes.findIndex((node) => node.name === name)}`,
  target: (name) => `t${targets.indexOf(name)}`
})

const ends = (id: Ids, { from, to }: OverviewEdge): readonly [string, string] => [
  id.node(from.node),
  "target" in to ? id.target(to.target) : id.node(to.node)
]

const entity = (text: string) => text.replace(/[#"<>&]/g, (character) => `#${character.charCodeAt(0)};`)

/** A flowchart. Sources are rounded, stages that run once per shard are doubled, targets are flags. */
export const mermaid = (overview: Overview): string => {
  const id = ids(overview)
  return [
    "flowchart TD",
    ...overview.nodes.map(({ name, stage, each }) => {
      const text = `"${entity(name)}${name === stage ? "" : `<br/><small>${entity(stage)}</small>`}"`
      return `  ${id.node(name)}${each ? `[[${text}]]` : isSource(overview, name) ? `([${text}])` : `[${text}]`}`
    }),
    ...overview.targets.map((name) => `  ${id.target(name)}>"${entity(name)}"]`),
    ...overview.edges.map((edge) => {
      const [from, to] = ends(id, edge)
      return `  ${from} -- "${entity(label(overview, edge))}" --> ${to}`
    })
  ].join("\n")
}

const quoted = (text: string) => JSON.stringify(text)

export const dot = (overview: Overview): string => {
  const id = ids(overview)
  return [
    `digraph ${quoted(overview.pipeline)} {`,
    `  graph [rankdir=TB, pad=0.3, nodesep=0.35, ranksep=0.55, bgcolor=white]`,
    `  node [fontname="Helvetica,Arial,sans-serif", fontsize=12, shape=box, style="rounded,filled", fillcolor="#eef3fb", color="#4a6fa5"]`,
    `  edge [fontname="Helvetica,Arial,sans-serif", fontsize=9, color="#667085", fontcolor="#475467", arrowsize=0.7]`,
    ...overview.nodes.map(({ name, stage, each }) => {
      const text = name === stage ? name : `${name}\n${stage}`
      const look = each
        ? ", peripheries=2"
        : isSource(overview, name)
          ? `, fillcolor="#f4f4f5", color="#71717a"`
          : ""
      return `  ${id.node(name)} [label=${quoted(text)}${look}]`
    }),
    ...overview.targets.map(
      (name) =>
        `  ${id.target(name)} [label=${quoted(name)}, shape=cds, fillcolor="#ecfdf3", color="#3f8f5f"]`
    ),
    ...overview.edges.map((edge) => {
      const [from, to] = ends(id, edge)
      return `  ${from} -> ${to} [label=${quoted(` ${label(overview, edge)}`)}]`
    }),
    "}"
  ].join("\n")
}
