import { Corpus } from "@tessera/attention"
import { splitCorpus } from "@tessera/calibration-multinews"
import { Effect } from "effect"
import { expect, it } from "vitest"
import { given } from "@tessera/testing"
import { rowsOf } from "./harness.js"

const corpus = given(
  Corpus,
  Array.from({ length: 10 }, (_, i) => ({
    item: `item-${i}`,
    dataset: "multi_news",
    document: `document ${i}`,
    question: "",
    answer: "answer"
  }))
)

it.each([
  [0.25, ["item-3", "item-7"]],
  [0.5, ["item-1", "item-3", "item-5", "item-7", "item-9"]]
])("with a share of %d holds out items evenly, and no item is in both parts", async (share, expected) => {
  const split = splitCorpus({ corpus }, { share })
  const [rest, heldOut] = await Effect.runPromise(
    Effect.all([rowsOf(Corpus, split.corpus), rowsOf(Corpus, split.heldOut)])
  )
  expect(heldOut.map(({ item }) => item)).toEqual(expected)
  expect([...rest, ...heldOut].map(({ item }) => item).toSorted()).toEqual(
    Array.from({ length: 10 }, (_, i) => `item-${i}`)
  )
})
