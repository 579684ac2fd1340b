/** One execution per length gives what executions per item give. */
import { CalibrationSet, Influence, Model } from "@tessera/attention"
import { source } from "@tessera/core"
import { demoModelPath } from "@tessera/demo"
import { profile } from "@tessera/profiler-gradient"
import { given } from "@tessera/testing"
import { Effect } from "effect"
import { expect, it } from "vitest"
import { calibrationItem } from "../conformance/fixtures.js"
import { rowsOf } from "./harness.js"

const items = [
  calibrationItem("a", 64, 8),
  calibrationItem("bb", 64, 12),
  // Shorter than the others of its length.
  { ...calibrationItem("ccc", 40, 8), length: 64 },
  calibrationItem("dddd", 96, 8)
]
const inputs = { model: source(Model, demoModelPath), calibration: given(CalibrationSet, items) }
const params = { block: 16, sink: 16, keepBlocks: true } as const

it.each(["abs-entry", "signed"] as const)(
  "the mean over the items of a length is the same item by item and summed on the device, %s",
  async (aggregation) => {
    const perItem = profile(inputs, { ...params, aggregation })
    const perLength = profile(inputs, { ...params, aggregation, per: "length" })
    const [wanted, found] = await Effect.runPromise(
      Effect.all([rowsOf(Influence, perItem.influence), rowsOf(Influence, perLength.influence)])
    )
    expect(found.length).toBeGreaterThan(0)
    const key = ({ length, layer, head, items }: (typeof found)[number]) => [length, layer, head, items]
    expect(found.map(key)).toEqual(wanted.map(key))
    found.forEach((row, i) => {
      for (const values of ["window", "blocks"] as const) {
        const expected = wanted[i]?.[values] ?? []
        const size = Math.max(...expected.map(Math.abs))
        expect(row[values]).toHaveLength(expected.length)
        row[values].forEach((value, j) =>
          expect(Math.abs(value - (expected[j] ?? Number.NaN))).toBeLessThanOrEqual(1e-5 * size)
        )
      }
    })
  }
)

it("an item longer than its length is refused", async () => {
  const calibration = given(CalibrationSet, [{ ...calibrationItem("a", 64, 8), length: 32 }])
  const { influence } = profile({ ...inputs, calibration }, { aggregation: "signed", per: "length" })
  const error = await Effect.runPromise(Effect.flip(rowsOf(Influence, influence)))
  expect(String((error as { readonly cause?: unknown }).cause ?? error)).toMatch(
    /64 tokens and counts as one of 32/
  )
})
