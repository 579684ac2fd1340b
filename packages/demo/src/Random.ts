/**
 * Random streams that are equal on every machine for equal labels, and unrelated for different ones.
 */
import { createHash } from "node:crypto"
import { uniformInt } from "pure-rand/distribution/uniformInt"
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus"

export interface Random {
  /** A whole number from 0 to n - 1. */
  readonly int: (n: number) => number
  /** True `percent` times out of 100. */
  readonly chance: (percent: number) => boolean
  readonly pick: <A>(items: ReadonlyArray<A>) => A
  readonly shuffle: <A>(items: ReadonlyArray<A>) => ReadonlyArray<A>
  /** `count` different whole numbers from 0 to n - 1, in random order; `count` is at most n. */
  readonly distinct: (count: number, n: number) => ReadonlyArray<number>
}

/** @param labels what the stream is for, such as seed, split, task, length and item. */
export const random = (...labels: ReadonlyArray<string | number>): Random => {
  const digest = createHash("sha256").update(JSON.stringify(labels)).digest()
  // Arithmetic on whole numbers only: floating point is where platforms could differ.
  const generator = xoroshiro128plusFromState([0, 4, 8, 12].map((at) => digest.readInt32LE(at)))
  const int = (n: number) => uniformInt(generator, 0, n - 1)
  const shuffle = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => {
    const left = [...items]
    return items.flatMap(() => left.splice(int(left.length), 1))
  }
  return {
    int,
    chance: (percent) => int(100) < percent,
    pick: (items) => {
      const item = items[int(items.length)]
      if (item === undefined) throw new RangeError("nothing to pick from")
      return item
    },
    shuffle,
    distinct: (count, n) => {
      if (2 * count >= n) return shuffle(Array.from({ length: n }, (_, i) => i)).slice(0, count)
      const chosen = new Set<number>()
      while (chosen.size < count) chosen.add(int(n))
      return [...chosen]
    }
  }
}
