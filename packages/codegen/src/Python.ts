/**
 * Values as Python source.
 */

// JSON's escapes are a subset of Python's.
export const pythonString = (text: string): string => JSON.stringify(text)

/** A Python float that parses to the same double. */
export const pythonFloat = (value: number): string => {
  const text = String(value)
  return /[.e]/.test(text) ? text : `${text}.0`
}

const perLine = 24

/** The items of a tuple, 24 a line, each with its comma. */
export const pythonItems = (items: ReadonlyArray<string>, indent: string): string =>
  Array.from({ length: Math.ceil(items.length / perLine) }, (_, line) =>
    items
      .slice(line * perLine, (line + 1) * perLine)
      .map((item) => `${item},`)
      .join(" ")
  )
    .map((line) => `${indent}${line}\n`)
    .join("")
